#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "aggregation/dp_mean.h"
#include "aggregation/rdp_accountant.h"
#include "fedlb/round_task.h"
#include "fedlb/tensor_list.h"
#include "plugins/make_component.h"

namespace fedlb {
namespace {

using aggregation::DpMean;
using aggregation::EpsilonOf;

// opacus 1.6.0, accountants.analysis.rdp at the same orders (golden/rdp.py).
TEST(RdpAccountantTest, IsThatOfOpacus) {
  struct Case {
    double noise_multiplier;
    double sampling_rate;
    int64_t rounds;
    double delta;
    double epsilon;
  };
  for (const Case& c :
       {Case{1, 0.01, 1000, 1e-5, 2.1013652716430564},
        Case{1, 1, 10, 1e-5, 19.05359753163139},
        Case{0.6, 0.1, 100, 1e-5, 23.13804885409695},
        Case{4, 0.3, 2000, 1e-6, 22.65660280054088},
        Case{2, 0.05, 1, 1e-5, 0.3445186697609226},
        Case{0.3, 0.02, 50, 1e-5, 35.73241153262659},
        Case{1.1, 256.0 / 60000, 3510, 1e-5, 1.280365575153185}}) {
    EXPECT_NEAR(
        EpsilonOf(c.noise_multiplier, c.sampling_rate, c.rounds, c.delta) /
            c.epsilon,
        1, 1e-9)
        << c.noise_multiplier << " " << c.sampling_rate;
  }
}

TEST(RdpAccountantTest, NoNoiseHidesNothingAndNoRoundTellsNothing) {
  EXPECT_TRUE(std::isinf(EpsilonOf(0, 0.1, 1, 1e-5)));
  EXPECT_EQ(EpsilonOf(0, 0.1, 0, 1e-5), 0);
}

// More noise, fewer rounds, rarer sampling and a larger delta cost less.
TEST(RdpAccountantTest, IsMonotone) {
  const double epsilon = EpsilonOf(1, 0.1, 100, 1e-5);
  EXPECT_LT(EpsilonOf(1.1, 0.1, 100, 1e-5), epsilon);
  EXPECT_LT(EpsilonOf(1, 0.09, 100, 1e-5), epsilon);
  EXPECT_LT(EpsilonOf(1, 0.1, 99, 1e-5), epsilon);
  EXPECT_LT(EpsilonOf(1, 0.1, 100, 1e-4), epsilon);
}

Update UpdateOf(const at::Tensor& values) {
  Update update;
  update.num_examples = 1;
  update.groups[kParametersGroup] = {values};
  return update;
}

at::Tensor RoundOf(DpMean& rule, const std::vector<at::Tensor>& updates) {
  EXPECT_TRUE(rule.Begin({{"w", updates[0].sizes().vec(), at::kDouble}}).ok());
  for (const at::Tensor& values : updates) {
    EXPECT_TRUE(rule.Add(UpdateOf(values)).ok());
  }
  return rule.Finish().value()[0];
}

// (3, 4) is scaled to (0.6, 0.8); the mean with (0.2, 0) is (0.4, 0.4).
TEST(DpMeanTest, ClipsAndCountsEachClientOnce) {
  const auto rule = Make<DpMean>("noise_multiplier = 0.0");
  at::Tensor longer = at::zeros({2}, at::kDouble);
  longer[0] = 3;
  longer[1] = 4;
  at::Tensor shorter = at::zeros({2}, at::kDouble);
  shorter[0] = 0.2;
  const at::Tensor mean = RoundOf(*rule, {longer, shorter});
  EXPECT_NEAR(mean[0].item<double>(), 0.4, 1e-15);
  EXPECT_NEAR(mean[1].item<double>(), 0.4, 1e-15);
  EXPECT_EQ(rule->Report().at("clipped"), 0.5);
  EXPECT_TRUE(std::isinf(rule->Report().at("epsilon")));
}

// 1.5 times a norm of 2, over 4 clients: 0.75. The standard error of a standard
// deviation from 40,000 numbers is 0.35 %.
TEST(DpMeanTest, NoiseIsAsLargeAsItSays) {
  constexpr int64_t kWidth = 40'000;
  const auto rule = Make<DpMean>("max_norm = 2.0\nnoise_multiplier = 1.5");
  const at::Tensor nothing = at::zeros({kWidth}, at::kDouble);
  const std::vector<at::Tensor> updates(4, nothing);
  const at::Tensor first = RoundOf(*rule, updates);
  EXPECT_NEAR(first.std().item<double>(), 0.75, 0.75 * 0.0105);
  EXPECT_NEAR(first.mean().item<double>(), 0, 3 * 0.75 / std::sqrt(kWidth));
  // Every round has its own.
  const at::Tensor second = RoundOf(*rule, updates);
  EXPECT_NEAR(first.mul(second).mean().item<double>(), 0,
              3 * 0.75 * 0.75 / std::sqrt(kWidth));
  EXPECT_NEAR(rule->Report().at("epsilon"), EpsilonOf(1.5, 1, 2, 1e-5), 1e-12);
}

TEST(DpMeanTest, AResumedRunGoesOnWithItsBudgetAndItsNoise) {
  const std::vector<at::Tensor> updates = {at::zeros({10}, at::kDouble)};
  const auto steady = Make<DpMean>("");
  RoundOf(*steady, updates);
  const auto resumed = Make<DpMean>("");
  ASSERT_TRUE(resumed->LoadState(steady->SaveState()).ok());
  EXPECT_TRUE(RoundOf(*steady, updates).equal(RoundOf(*resumed, updates)));
  EXPECT_EQ(steady->Report().at("epsilon"), resumed->Report().at("epsilon"));
}

}  // namespace
}  // namespace fedlb
