#include <cstdint>
#include <memory>
#include <optional>

#include <ATen/core/Tensor.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "aggregation/mean.h"
#include "fedlb/round_task.h"
#include "fedlb/tensor_list.h"
#include "plugins/make_component.h"

namespace fedlb {
namespace {

using aggregation::Mean;

const TensorLayout& Layout() {
  static const TensorLayout* const layout =
      new TensorLayout{{"w", {2}, at::kDouble}};
  return *layout;
}

Update UpdateOf(double first, double second, int64_t num_examples) {
  Update update;
  update.num_examples = num_examples;
  update.groups[kParametersGroup] = {at::tensor({first, second})};
  return update;
}

TensorList AggregateOf(Mean& mean, std::vector<Update> updates) {
  EXPECT_TRUE(mean.Begin(Layout()).ok());
  for (const Update& update : updates) {
    EXPECT_TRUE(mean.Add(update).ok());
  }
  return mean.Finish().value();
}

TEST(MeanTest, WeighsByExamples) {
  const auto mean = Make<Mean>("");
  const TensorList result =
      AggregateOf(*mean, {UpdateOf(1, 10, 1), UpdateOf(5, 20, 3)});
  EXPECT_DOUBLE_EQ(result[0][0].item<double>(), 4);
  EXPECT_DOUBLE_EQ(result[0][1].item<double>(), 17.5);
}

TEST(MeanTest, UniformWeightsIgnoreExamples) {
  const auto mean = Make<Mean>("weighting = 'uniform'");
  const TensorList result =
      AggregateOf(*mean, {UpdateOf(1, 10, 1), UpdateOf(5, 20, 3)});
  EXPECT_DOUBLE_EQ(result[0][0].item<double>(), 3);
  EXPECT_DOUBLE_EQ(result[0][1].item<double>(), 15);
}

TEST(MeanTest, ARoundForgetsTheOneBefore) {
  const auto mean = Make<Mean>("");
  AggregateOf(*mean, {UpdateOf(1, 10, 1)});
  const TensorList result = AggregateOf(*mean, {UpdateOf(5, 20, 3)});
  EXPECT_DOUBLE_EQ(result[0][0].item<double>(), 5);
}

TEST(MeanTest, TheResultIsTheCallersOwn) {
  const auto mean = Make<Mean>("");
  const Update update = UpdateOf(1, 10, 1);
  const TensorList result = AggregateOf(*mean, {update});
  result[0].fill_(7);
  EXPECT_EQ(update.parameters()[0][0].item<double>(), 1);
}

TEST(MeanTest, AClientWithoutExamplesIsRefused) {
  const auto mean = Make<Mean>("weighting = 'uniform'");
  ASSERT_TRUE(mean->Begin(Layout()).ok());
  EXPECT_EQ(mean->Add(UpdateOf(1, 10, 0)).code(),
            absl::StatusCode::kInvalidArgument);
}

// The last tensor of the state is the total weight.
TEST(MeanTest, StatesOfTwoProcessesAddUp) {
  const auto left = Make<Mean>("");
  const auto right = Make<Mean>("");
  ASSERT_TRUE(left->Begin(Layout()).ok());
  ASSERT_TRUE(right->Begin(Layout()).ok());
  ASSERT_TRUE(left->Add(UpdateOf(1, 10, 1)).ok());
  ASSERT_TRUE(right->Add(UpdateOf(5, 20, 3)).ok());
  TensorList sum = *left->LinearState();
  AddScaled(*right->LinearState(), 1, sum);
  EXPECT_DOUBLE_EQ(sum[0][0].div(sum[1][0]).item<double>(), 4);
  EXPECT_DOUBLE_EQ(sum[0][1].div(sum[1][0]).item<double>(), 17.5);
}

}  // namespace
}  // namespace fedlb
