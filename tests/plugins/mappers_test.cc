#include <limits>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fedlb/gradient_mapper.h"
#include "fedlb/logger.h"
#include "fedlb/status.h"
#include "fedlb/tensor_list.h"
#include "mappers/identity.h"
#include "mappers/step.h"
#include "optim/adam.h"
#include "optim/sgd.h"
#include "plugins/make_component.h"

namespace fedlb {
namespace {

using mappers::Identity;
using mappers::Step;
using optim::Adam;
using optim::Sgd;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

// What rounding, signs and special values could betray.
TensorList AwkwardGradient() {
  return {at::tensor({0.1F, -0.0F, 1e-42F, 3e38F,
                      std::numeric_limits<float>::infinity()}),
          at::tensor({-7.3F, 1.0F / 3})};
}

TensorList PlainGradient() {
  return {at::tensor({0.5, -2.0}), at::tensor({0.25})};
}

StepContext Phase(bool critical) {
  StepContext context;
  context.critical = critical;
  return context;
}

class WarningCount final : public Logger {
 public:
  void Log(LogLevel level, absl::string_view message) override {
    if (level == LogLevel::kWarning) {
      messages.emplace_back(message);
    }
  }
  std::vector<std::string> messages;
};

TEST(IdentityTest, LeavesEveryBit) {
  TensorList gradient = AwkwardGradient();
  const std::string before = Sha256Hex(gradient);
  ASSERT_TRUE(Make<Identity>("")->Map(Phase(false), gradient).ok());
  EXPECT_EQ(Sha256Hex(gradient), before);
}

TEST(StepTest, GainOneIsTheIdentityBitForBit) {
  for (const char* phase : {"noncritical", "critical", "always", "never"}) {
    const auto mapper =
        Make<Step>("gain = 1\nscale_phase = '" + std::string(phase) + "'");
    for (const bool critical : {false, true}) {
      TensorList gradient = AwkwardGradient();
      const std::string before = Sha256Hex(gradient);
      ASSERT_TRUE(mapper->Map(Phase(critical), gradient).ok());
      EXPECT_EQ(Sha256Hex(gradient), before);
      EXPECT_EQ(mapper->Report()["scaled"], 0);
    }
  }
}

// Eq 6: the gain outside critical phases, 1 within them; and its variants.
TEST(StepTest, ScalesInThePhaseThatIsNamed) {
  struct Case {
    const char* phase;
    double noncritical;
    double critical;
  };
  for (const Case& c : {Case{"noncritical", 8, 1}, Case{"critical", 1, 8},
                        Case{"always", 8, 8}, Case{"never", 1, 1}}) {
    const auto mapper =
        Make<Step>("gain = 8\nscale_phase = '" + std::string(c.phase) + "'");
    for (const bool critical : {false, true}) {
      TensorList gradient = PlainGradient();
      ASSERT_TRUE(mapper->Map(Phase(critical), gradient).ok());
      const double gain = critical ? c.critical : c.noncritical;
      EXPECT_EQ(gradient[0][1].item<double>(), -2 * gain) << c.phase;
      EXPECT_EQ(gradient[1][0].item<double>(), 0.25 * gain) << c.phase;
      EXPECT_THAT(
          mapper->Report(),
          UnorderedElementsAre(Pair("gain", gain), Pair("scaled", gain != 1)));
    }
  }
}

TEST(StepTest, ClipsBeforeItScales) {
  const auto mapper = Make<Step>("gain = 4\nclip_norm = 1");
  TensorList gradient = {at::full({1}, 30.0, at::kDouble),
                         at::full({1}, 40.0, at::kDouble)};
  ASSERT_TRUE(mapper->Map(Phase(false), gradient).ok());
  EXPECT_NEAR(gradient[0].item<double>(), 4 * 0.6, 1e-6);
  EXPECT_NEAR(gradient[1].item<double>(), 4 * 0.8, 1e-6);
  EXPECT_EQ(mapper->Report()["gain"], 4);
  EXPECT_NEAR(mapper->Report()["clip_factor"], 1.0 / 50, 1e-8);

  // A gradient that the gain alone lifts above the bound stays as it is.
  gradient = {at::full({1}, 0.5, at::kDouble)};
  ASSERT_TRUE(mapper->Map(Phase(false), gradient).ok());
  EXPECT_EQ(gradient[0].item<double>(), 2);
}

TEST(StepTest, ClippingAfterScalingIsRefused) {
  const auto mapper = Make<Step>("gain = 4");
  WarningCount logger;
  const absl::Status status =
      mapper->CheckOptimizer(Make<Sgd>("clip_norm = 1")->traits(), logger);
  EXPECT_EQ(FailureOf(status), Failure::kConfig);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("gradient_mapper.clip_norm"));
  EXPECT_TRUE(mapper->CheckOptimizer(Make<Sgd>("")->traits(), logger).ok());
  EXPECT_TRUE(logger.messages.empty());
}

TEST(StepTest, AnOptimizerThatIgnoresScaleIsWarnedAbout) {
  WarningCount logger;
  const OptimizerTraits adam = Make<Adam>("")->traits();
  EXPECT_TRUE(Make<Step>("gain = 4")->CheckOptimizer(adam, logger).ok());
  EXPECT_EQ(logger.messages.size(), 1U);
}

TEST(StepTest, AnyOptimizerSuitsAGainThatNeverActs) {
  WarningCount logger;
  const OptimizerTraits traits = Make<Adam>("clip_norm = 1")->traits();
  EXPECT_TRUE(Make<Step>("gain = 1")->CheckOptimizer(traits, logger).ok());
  EXPECT_TRUE(Make<Step>("gain = 4\nscale_phase = 'never'")
                  ->CheckOptimizer(traits, logger)
                  .ok());
  EXPECT_TRUE(logger.messages.empty());
}

TEST(StepTest, BoundsHold) {
  EXPECT_FALSE(TryMake<Step>("gain = 0").ok());
  EXPECT_FALSE(TryMake<Step>("gain = nan").ok());
  EXPECT_FALSE(TryMake<Step>("scale_phase = 'sometimes'").ok());
  EXPECT_FALSE(TryMake<Step>("clip_norm = -1").ok());
}

// Ten steps on f(w) = w^2 / 2 + sin(w), mapped and not.
TensorList Descend(GradientMapper& mapper, Optimizer& optimizer) {
  TensorList weights = {at::tensor({1.5, -0.3, 0.7})};
  for (int step = 0; step < 10; ++step) {
    TensorList gradient = {weights[0].add(weights[0].cos())};
    EXPECT_TRUE(mapper.Map(Phase(false), gradient).ok());
    EXPECT_TRUE(optimizer.Step(gradient, optimizer.base_lr(), weights).ok());
  }
  return weights;
}

constexpr char kAlways[] = "gain = 4\nscale_phase = 'always'";

// Powers of two scale without rounding: the bits must be the same.
TEST(StepWithSgdTest, AConstantGainIsALearningRate) {
  for (const char* momentum :
       {"", "momentum = 0.9\n", "momentum = 0.9\nnesterov = true\n"}) {
    const auto scaled = Descend(
        *Make<Step>(kAlways), *Make<Sgd>(std::string(momentum) + "lr = 0.01"));
    const auto plain = Descend(*Make<Identity>(""),
                               *Make<Sgd>(std::string(momentum) + "lr = 0.04"));
    EXPECT_EQ(Sha256Hex(scaled), Sha256Hex(plain));
  }
}

// lr (4 g + d w) = 4 lr (g + d / 4 w): the decay of weights is not scaled.
TEST(StepWithSgdTest, TheGainLeavesWeightDecayAlone) {
  const auto scaled =
      Descend(*Make<Step>(kAlways),
              *Make<Sgd>("lr = 0.01\nmomentum = 0.9\nweight_decay = 0.1"));
  const auto same =
      Descend(*Make<Identity>(""),
              *Make<Sgd>("lr = 0.04\nmomentum = 0.9\nweight_decay = 0.025"));
  const auto decayed_too_much =
      Descend(*Make<Identity>(""),
              *Make<Sgd>("lr = 0.04\nmomentum = 0.9\nweight_decay = 0.1"));
  EXPECT_LE(scaled[0].sub(same[0]).abs().max().item<double>(), 1e-15);
  EXPECT_GE(scaled[0].sub(decayed_too_much[0]).abs().max().item<double>(),
            1e-3);
}

TEST(StepWithSgdTest, OneStepIsTheDocumentedFormula) {
  TensorList weights = {at::tensor({2.0})};
  TensorList gradient = {at::tensor({3.0})};
  ASSERT_TRUE(Make<Step>(kAlways)->Map(Phase(false), gradient).ok());
  ASSERT_TRUE(
      Make<Sgd>("weight_decay = 0.5")->Step(gradient, 0.125, weights).ok());
  EXPECT_EQ(weights[0].item<double>(), 2 - 0.125 * (4 * 3 + 0.5 * 2));
}

}  // namespace
}  // namespace fedlb
