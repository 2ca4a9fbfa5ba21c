#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_format.h"
#include "aggregation/fednova.h"
#include "aggregation/mean.h"
#include "fedlb/random.h"
#include "fedlb/round_task.h"
#include "fedlb/status.h"
#include "fedlb/tensor_list.h"
#include "plugins/make_component.h"

namespace fedlb {
namespace {

using aggregation::FedNova;
using aggregation::Mean;
using ::testing::HasSubstr;

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

TensorList AggregateOf(Aggregator& rule, std::vector<Update> updates) {
  EXPECT_TRUE(rule.Begin(Layout()).ok());
  for (const Update& update : updates) {
    EXPECT_TRUE(rule.Add(update).ok());
  }
  return rule.Finish().value();
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

Update DeltaOf(double way, int64_t num_examples, int64_t local_steps) {
  Update update = UpdateOf(way, -way, num_examples);
  update.kind = Update::Kind::kDelta;
  update.local_steps = local_steps;
  return update;
}

// The first element; the second must be its negative.
double FedNovaOf(const std::string& options, std::vector<Update> updates) {
  const auto rule = Make<FedNova>(options);
  const TensorList result = AggregateOf(*rule, std::move(updates));
  EXPECT_EQ(result[0][1].item<double>(), -result[0][0].item<double>());
  return result[0][0].item<double>();
}

// Half of the data each, and every step of both goes 1: the mean step is 1 and
// the mean number of steps 2. Renormalising the shares p_k / tau_k to 1, as is
// sometimes done, would give 1.5.
TEST(FedNovaTest, OneStepAndThreeCountAsTwo) {
  EXPECT_DOUBLE_EQ(FedNovaOf("", {DeltaOf(1, 10, 1), DeltaOf(3, 10, 3)}), 2);
}

// The steps go 1 and 2: 1.5 on average, times 2 where the mean is 3.5.
TEST(FedNovaTest, AClientsInfluenceDoesNotGrowWithItsSteps) {
  EXPECT_DOUBLE_EQ(FedNovaOf("", {DeltaOf(1, 10, 1), DeltaOf(6, 10, 3)}), 3);
}

// p = 1/4, 3/4: a mean step of 0.25 * 1 + 0.75 * 2 = 1.75, and 2.5 of them.
TEST(FedNovaTest, SharesAreThoseOfTheExamples) {
  EXPECT_DOUBLE_EQ(FedNovaOf("", {DeltaOf(1, 10, 1), DeltaOf(6, 30, 3)}),
                   4.375);
}

// With rho = 1/2 the first of two gradients moves the weights by 1.5 and the
// second by 1, so ||a||_1 = 2.5; the mean of 2.5 and 1 is 1.75.
TEST(FedNovaTest, MomentumIsTakenOutOfTheSteps) {
  const std::vector<Update> updates = {DeltaOf(2.5, 10, 2), DeltaOf(1, 10, 1)};
  EXPECT_DOUBLE_EQ(FedNovaOf("momentum = 0.5", updates), 1.75);
  EXPECT_DOUBLE_EQ(
      FedNovaOf("momentum = 0.5\neffective_steps = 'steps'", updates), 1.5);
}

// lr mu = 1/2: a = 1, 1.5, 1.75. The mean of 1 and 1.75 is 1.375; the authors'
// code multiplies by the mean number of steps, 2.
TEST(FedNovaTest, AProximalTermIsTakenOutOfTheSteps) {
  const std::vector<Update> updates = {DeltaOf(1, 10, 1), DeltaOf(1.75, 10, 3)};
  EXPECT_DOUBLE_EQ(FedNovaOf("lr = 0.1\nmu = 5.0", updates), 1.375);
  EXPECT_DOUBLE_EQ(
      FedNovaOf("lr = 0.1\nmu = 5.0\neffective_steps = 'steps'", updates), 2);
}

// Clients whose gradients are all 1 go exactly ||a||_1 far, so the aggregate is
// their mean. The steps are taken one by one here.
TEST(FedNovaTest, UnitGradientsComeOutAsTheMeanOfTheWays) {
  RandomStream stream({.seed = 1, .purpose = "test_configs"});
  for (int i = 0; i < 100; ++i) {
    const double momentum = stream.Below(3) == 0 ? 0 : 0.95 * stream.Uniform();
    const double mu = stream.Below(3) == 0 ? 0 : 9 * stream.Uniform();
    std::vector<Update> updates;
    double expected = 0;
    double examples = 0;
    for (int client = 0; client < 4; ++client) {
      const auto steps = static_cast<int64_t>(1 + stream.Below(60));
      const auto count = static_cast<int64_t>(1 + stream.Below(100));
      double way = 0;
      double velocity = 0;
      for (int64_t step = 0; step < steps; ++step) {
        velocity = momentum * velocity + 1 - 0.1 * mu * way;
        way += velocity;
      }
      updates.push_back(DeltaOf(way, count, steps));
      expected += static_cast<double>(count) * way;
      examples += static_cast<double>(count);
    }
    const std::string options =
        absl::StrFormat("lr = 0.1\nmomentum = %.17g\nmu = %.17g", momentum, mu);
    EXPECT_NEAR(FedNovaOf(options, updates) * examples / expected, 1, 1e-10)
        << options;
  }
}

// The paper's closed form (tau - rho (1 - rho^tau) / (1 - rho)) / (1 - rho).
TEST(FedNovaTest, TheNormaliserWithMomentumIsThePapers) {
  const double rho = 0.9;
  const double norm =
      (50 - rho * (1 - std::pow(rho, 50)) / (1 - rho)) / (1 - rho);
  // Of 1 / norm and 1 the mean is per step, and of norm and 1 the number.
  EXPECT_NEAR(
      FedNovaOf("momentum = 0.9", {DeltaOf(1, 10, 50), DeltaOf(1, 10, 1)}),
      (1 / norm + 1) / 2 * (norm + 1) / 2, 1e-9);
}

TEST(FedNovaTest, EqualStepsGiveTheMean) {
  const std::vector<Update> updates = {DeltaOf(0.3, 7, 5), DeltaOf(-4, 11, 5),
                                       DeltaOf(1.7, 3, 5)};
  const double mean = (7 * 0.3 - 11 * 4 + 3 * 1.7) / 21;
  for (const char* options :
       {"", "momentum = 0.9", "mu = 0.5", "momentum = 0.5\nmu = 0.1"}) {
    EXPECT_NEAR(FedNovaOf(options, updates), mean, 1e-14) << options;
  }
}

TEST(FedNovaTest, GradientsCountAsOneStep) {
  Update first = DeltaOf(1, 10, 7);
  Update second = DeltaOf(5, 30, 1);
  first.kind = second.kind = Update::Kind::kGradient;
  EXPECT_DOUBLE_EQ(FedNovaOf("momentum = 0.9", {first, second}), 4);
}

TEST(FedNovaTest, AbsurdNumbersOfStepsTakeNoTime) {
  const double result = FedNovaOf(
      "momentum = 0.9", {DeltaOf(1, 10, int64_t{1} << 62), DeltaOf(1, 10, 1)});
  EXPECT_TRUE(std::isfinite(result));
}

TEST(FedNovaTest, AClientWithoutStepsIsRefused) {
  const auto rule = Make<FedNova>("");
  ASSERT_TRUE(rule->Begin(Layout()).ok());
  const absl::Status status = rule->Add(DeltaOf(1, 10, 0));
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("0 local steps"));
}

// The last tensor has the examples, and the examples times the steps.
TEST(FedNovaTest, StatesOfTwoProcessesAddUp) {
  const auto left = Make<FedNova>("");
  const auto right = Make<FedNova>("");
  ASSERT_TRUE(left->Begin(Layout()).ok());
  ASSERT_TRUE(right->Begin(Layout()).ok());
  ASSERT_TRUE(left->Add(DeltaOf(1, 10, 1)).ok());
  ASSERT_TRUE(right->Add(DeltaOf(6, 30, 3)).ok());
  TensorList sum = *left->LinearState();
  AddScaled(*right->LinearState(), 1, sum);
  const double examples = sum.back()[0].item<double>();
  const double steps = sum.back()[1].item<double>();
  EXPECT_EQ(examples, 40);
  EXPECT_EQ(steps, 100);
  EXPECT_DOUBLE_EQ(sum[0][0].item<double>() / examples * steps / examples,
                   4.375);
}

// rho = 0.99, lr mu = 0.865: ways of 1, 2.125, 2.400622, 1.59594885,
// 0.418917... and -0.1085 after six steps.
TEST(FedNovaTest, StepsThatHaveTurnedAroundAreRefused) {
  const auto rule = Make<FedNova>("momentum = 0.99\nlr = 0.1\nmu = 8.65");
  ASSERT_TRUE(rule->Begin(Layout()).ok());
  EXPECT_TRUE(rule->Add(DeltaOf(1, 10, 3)).ok());
  const absl::Status status = rule->Add(DeltaOf(1, 10, 6));
  EXPECT_EQ(FailureOf(status), Failure::kConfig);
  EXPECT_THAT(std::string(status.message()), HasSubstr("lower momentum or mu"));
}

TEST(FedNovaTest, AProximalTermThatOvershootsIsRefused) {
  const absl::Status status = TryMake<FedNova>("lr = 0.5\nmu = 2.0").status();
  EXPECT_EQ(FailureOf(status), Failure::kConfig);
  EXPECT_THAT(std::string(status.message()), HasSubstr("lower mu or lr"));
}

}  // namespace
}  // namespace fedlb
