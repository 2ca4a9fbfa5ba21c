#include <string>

#include <ATen/core/Tensor.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "algorithms/fedprox.h"
#include "algorithms/none.h"
#include "fedlb/round_task.h"
#include "fedlb/tensor_list.h"
#include "plugins/make_component.h"

namespace fedlb {
namespace {

using algorithms::FedProx;
using algorithms::None;

TensorList LocalWeights() {
  return {at::tensor({1.0, 2.0}).set_requires_grad(true),
          at::tensor({3.0}).set_requires_grad(true)};
}

RoundTask TaskWith(TensorList weights) {
  RoundTask task;
  task.weights = std::move(weights);
  return task;
}

TEST(NoneTest, LeavesTheGradient) {
  TensorList gradient = {at::tensor({0.1, 0.2}), at::tensor({0.3})};
  const std::string before = Sha256Hex(gradient);
  const RoundTask task = TaskWith({at::tensor({0.0, 0.0}), at::tensor({0.0})});
  ASSERT_TRUE(
      Make<None>("")->AdjustGradient(task, {}, LocalWeights(), gradient).ok());
  EXPECT_EQ(Sha256Hex(gradient), before);
}

TEST(FedProxTest, AddsMuTimesTheWayFromTheRoundsWeights) {
  const RoundTask task = TaskWith({at::tensor({0.5, 4.0}), at::tensor({-1.0})});
  TensorList gradient = {at::tensor({0.1, 0.2}), at::tensor({0.3})};
  ASSERT_TRUE(Make<FedProx>("mu = 0.5")
                  ->AdjustGradient(task, {}, LocalWeights(), gradient)
                  .ok());
  EXPECT_DOUBLE_EQ(gradient[0][0].item<double>(), 0.1 + 0.5 * 0.5);
  EXPECT_DOUBLE_EQ(gradient[0][1].item<double>(), 0.2 - 0.5 * 2);
  EXPECT_DOUBLE_EQ(gradient[1][0].item<double>(), 0.3 + 0.5 * 4);
  EXPECT_FALSE(gradient[0].requires_grad());
}

// The proximal term is mu/2 ||w - w_t||^2 over all parameters together.
TEST(FedProxTest, TheAddedGradientIsThatOfTheSquaredDistance) {
  const TensorList start = {at::tensor({0.5, 4.0}), at::tensor({-1.0})};
  TensorList weights = LocalWeights();
  const at::Tensor squares = weights[0].sub(start[0]).square().sum().add(
      weights[1].sub(start[1]).square().sum());
  const at::Tensor term = squares.mul(0.3 / 2);
  term.backward();
  TensorList gradient = {at::tensor({0.0, 0.0}), at::tensor({0.0})};
  ASSERT_TRUE(Make<FedProx>("mu = 0.3")
                  ->AdjustGradient(TaskWith(start), {}, weights, gradient)
                  .ok());
  for (size_t i = 0; i < weights.size(); ++i) {
    EXPECT_LE(gradient[i].sub(weights[i].grad()).abs().max().item<double>(),
              1e-15);
  }
}

TEST(FedProxTest, TheFirstStepOfARoundIsThatOfNone) {
  TensorList gradient = {at::tensor({0.1, 0.2}), at::tensor({0.3})};
  const std::string before = Sha256Hex(gradient);
  ASSERT_TRUE(Make<FedProx>("mu = 0.7")
                  ->AdjustGradient(TaskWith(LocalWeights()), {}, LocalWeights(),
                                   gradient)
                  .ok());
  EXPECT_EQ(Sha256Hex(gradient), before);
}

TEST(FedProxTest, ATaskWithoutWeightsIsRefused) {
  TensorList gradient = {at::tensor({0.1, 0.2}), at::tensor({0.3})};
  EXPECT_EQ(Make<FedProx>("")
                ->AdjustGradient({}, {}, LocalWeights(), gradient)
                .code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(FedProxTest, BoundsHold) {
  EXPECT_FALSE(TryMake<FedProx>("mu = -0.1").ok());
}

}  // namespace
}  // namespace fedlb
