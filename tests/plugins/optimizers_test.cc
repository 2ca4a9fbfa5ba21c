#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "fedlb/optimizer.h"
#include "fedlb/status.h"
#include "fedlb/tensor_list.h"
#include "optim/adam.h"
#include "optim/adamw.h"
#include "optim/fedopt.h"
#include "optim/lamb.h"
#include "optim/lars.h"
#include "optim/sgd.h"
#include "plugins/golden/optax_optimizers_golden.h"
#include "plugins/golden/optimizers_golden.h"
#include "plugins/make_component.h"
#include "plugins/make_optimizer.h"

namespace fedlb {
namespace {

using optim::Adam;
using optim::AdamW;
using optim::FedAdam;
using optim::FedAvgM;
using optim::FedYogi;
using optim::Lamb;
using optim::Lars;
using optim::Sgd;
using optim::TvLars;
using ::testing::HasSubstr;

constexpr int kSteps = 12;

// The problem that golden/optimizers.py states.
TensorList StartWeights(at::ScalarType dtype) {
  TensorList weights = {at::empty({3, 4}, dtype), at::empty({5}, dtype),
                        at::empty({}, dtype)};
  int64_t i = 0;
  for (at::Tensor& weight : weights) {
    at::Tensor flat = weight.view({-1});
    for (int64_t k = 0; k < flat.numel(); ++k, ++i) {
      flat[k].fill_(std::sin(static_cast<double>(i) + 1));
    }
  }
  return weights;
}

TensorList GradientAt(const TensorList& weights, int t) {
  TensorList gradient;
  int64_t i = 0;
  for (const at::Tensor& weight : weights) {
    at::Tensor g = at::empty(weight.sizes(), weight.options());
    at::Tensor flat = g.view({-1});
    const at::Tensor values = weight.contiguous().view({-1});
    for (int64_t k = 0; k < flat.numel(); ++k, ++i) {
      const double w = values[k].item<double>();
      const auto index = static_cast<double>(i);
      flat[k].fill_((0.5 + 0.1 * index) * (w - std::cos(index)) +
                    0.3 * std::sin(w + t));
    }
    gradient.push_back(g);
  }
  return gradient;
}

void TakeSteps(Optimizer& optimizer, int begin, int end, TensorList& weights) {
  for (int t = begin; t < end; ++t) {
    const double lr = optimizer.base_lr() * (1 - t / (2.0 * kSteps));
    ASSERT_TRUE(optimizer.Step(GradientAt(weights, t), lr, weights).ok());
  }
}

at::Tensor Flat(const TensorList& tensors) {
  std::vector<at::Tensor> parts;
  for (const at::Tensor& tensor : tensors) {
    parts.push_back(tensor.to(at::kDouble).reshape({-1}));
  }
  return at::cat(parts);
}

double RelativeError(const TensorList& weights, const at::Tensor& expected) {
  return Flat(weights).sub(expected).norm().div(expected.norm()).item<double>();
}

std::vector<OptimizerGolden> AllGoldens() {
  std::vector<OptimizerGolden> all = OptimizerGoldens();
  const std::vector<OptimizerGolden>& more = OptaxOptimizerGoldens();
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

class GoldenOptimizerTest : public ::testing::TestWithParam<OptimizerGolden> {
 protected:
  // golden/optax_optimizers.py adds a tensor of zeros to the problem.
  static TensorList StartWeights(at::ScalarType dtype) {
    TensorList weights = fedlb::StartWeights(dtype);
    if (static_cast<int64_t>(GetParam().weights.size()) >
        NumElements(weights)) {
      weights.push_back(at::zeros({2, 3}, dtype));
    }
    return weights;
  }

  std::unique_ptr<Optimizer> Make() const {
    return MakeOptimizer(GetParam().name, GetParam().options);
  }
};
INSTANTIATE_TEST_SUITE_P(All, GoldenOptimizerTest,
                         ::testing::ValuesIn(AllGoldens()),
                         [](const auto& info) {
                           return absl::StrCat(info.param.name, "_",
                                               info.index);
                         });

TEST_P(GoldenOptimizerTest, DoubleIsThatOfTheReference) {
  TensorList weights = StartWeights(at::kDouble);
  TakeSteps(*Make(), 0, kSteps, weights);
  EXPECT_LE(RelativeError(weights, at::tensor(GetParam().weights)), 1e-12);
}

TEST_P(GoldenOptimizerTest, FloatAgreesWithinItsPrecision) {
  TensorList weights = StartWeights(at::kFloat);
  TakeSteps(*Make(), 0, kSteps, weights);
  EXPECT_LE(RelativeError(weights, at::tensor(GetParam().weights)), 1e-6);
}

TEST_P(GoldenOptimizerTest, GoesOnFromASavedStateBitForBit) {
  for (const int stop : {0, 1, 6}) {
    TensorList weights = StartWeights(at::kFloat);
    const auto optimizer = Make();
    TakeSteps(*optimizer, 0, stop, weights);

    TensorList resumed_weights = Clone(weights);
    const auto resumed = Make();
    ASSERT_TRUE(resumed->LoadState(optimizer->SaveState()).ok());
    // The loaded state is a copy: going on here must not move it there.
    TakeSteps(*optimizer, stop, kSteps, weights);
    TakeSteps(*resumed, stop, kSteps, resumed_weights);
    EXPECT_EQ(Sha256Hex(weights), Sha256Hex(resumed_weights));
  }
}

TEST_P(GoldenOptimizerTest, ResetForgetsEverything) {
  const auto optimizer = Make();
  TensorList weights = StartWeights(at::kFloat);
  TakeSteps(*optimizer, 0, kSteps, weights);
  optimizer->Reset();
  EXPECT_TRUE(optimizer->SaveState().empty());
  TensorList again = StartWeights(at::kFloat);
  TakeSteps(*optimizer, 0, kSteps, again);
  EXPECT_EQ(Sha256Hex(weights), Sha256Hex(again));
}

TEST_P(GoldenOptimizerTest, LoadingAnEmptyStateIsAFreshStart) {
  const auto optimizer = Make();
  TensorList weights = StartWeights(at::kFloat);
  TakeSteps(*optimizer, 0, kSteps, weights);
  ASSERT_TRUE(optimizer->LoadState({}).ok());
  EXPECT_TRUE(optimizer->SaveState().empty());
}

TEST_P(GoldenOptimizerTest, DeclaresTheBytesOfItsState) {
  const auto optimizer = Make();
  TensorList weights = StartWeights(at::kFloat);
  TensorLayout layout;
  for (const at::Tensor& weight : weights) {
    layout.push_back({"w", weight.sizes().vec(), weight.scalar_type()});
  }
  TakeSteps(*optimizer, 0, 1, weights);
  int64_t bytes = 0;
  for (const auto& [name, tensors] : optimizer->SaveState().tensors) {
    bytes += NumBytes(tensors);
  }
  EXPECT_EQ(optimizer->StateBytes(layout), bytes);
}

// Weights with gaps in memory take the path of GPUs and half precision.
TEST_P(GoldenOptimizerTest, OperatorsAndLoopsAgree) {
  TensorList weights = StartWeights(at::kDouble);
  weights[0] =
      at::zeros({3, 8}, at::kDouble).slice(1, 0, 8, 2).copy_(weights[0]);
  weights[1] = at::zeros({5, 2}, at::kDouble).select(1, 1).copy_(weights[1]);
  ASSERT_FALSE(weights[0].is_non_overlapping_and_dense());
  TakeSteps(*Make(), 0, kSteps, weights);
  EXPECT_LE(RelativeError(weights, at::tensor(GetParam().weights)), 1e-12);
}

TEST_P(GoldenOptimizerTest, OrderInMemoryChangesNoBit) {
  TensorList plain = {StartWeights(at::kFloat)[0]};
  TensorList transposed = {plain[0].t().contiguous().t()};
  const auto first = Make();
  const auto second = Make();
  for (int t = 0; t < kSteps; ++t) {
    const TensorList gradient = GradientAt(plain, t);
    ASSERT_TRUE(
        first->Step({gradient[0].t().contiguous().t()}, 0.1, plain).ok());
    ASSERT_TRUE(second->Step(gradient, 0.1, transposed).ok());
  }
  EXPECT_EQ(Sha256Hex(plain), Sha256Hex(transposed));
}

TEST_P(GoldenOptimizerTest, TheGradientStaysAsItIs) {
  TensorList weights = StartWeights(at::kFloat);
  const TensorList gradient = GradientAt(weights, 0);
  const std::string before = Sha256Hex(gradient);
  ASSERT_TRUE(Make()->Step(gradient, 0.1, weights).ok());
  EXPECT_EQ(Sha256Hex(gradient), before);
}

TEST_P(GoldenOptimizerTest, StepsLeavesThatRequireGradients) {
  TensorList weights = StartWeights(at::kFloat);
  TensorList leaves = Clone(weights);
  for (at::Tensor& leaf : leaves) {
    leaf.set_requires_grad(true);
  }
  const TensorList gradient = GradientAt(weights, 0);
  ASSERT_TRUE(Make()->Step(gradient, 0.1, weights).ok());
  ASSERT_TRUE(Make()->Step(gradient, 0.1, leaves).ok());
  EXPECT_EQ(Sha256Hex(weights), Sha256Hex(leaves));
  EXPECT_TRUE(leaves[0].is_leaf());
}

TEST_P(GoldenOptimizerTest, AStateOfAnotherModelIsRefused) {
  const auto optimizer = Make();
  TensorList weights = StartWeights(at::kFloat);
  TakeSteps(*optimizer, 0, 1, weights);
  if (optimizer->SaveState().tensors.empty()) {
    return;
  }
  TensorList fewer = {weights.begin(), weights.end() - 1};
  EXPECT_EQ(optimizer->Step(GradientAt(fewer, 0), 0.1, fewer).code(),
            absl::StatusCode::kInvalidArgument);
  TensorList other = weights;
  other.back() = at::ones({2});
  EXPECT_EQ(optimizer->Step(GradientAt(other, 0), 0.1, other).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_P(GoldenOptimizerTest, StatesThatItNeverSavedAreRefused) {
  const auto optimizer = Make();
  ComponentState unknown;
  unknown.tensors["trace"] = {at::ones({2})};
  EXPECT_EQ(optimizer->LoadState(unknown).code(),
            absl::StatusCode::kInvalidArgument);
  ComponentState number;
  number.scalars["steps"] = -3;
  EXPECT_EQ(optimizer->LoadState(number).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(AdamTest, HalfAStateIsRefused) {
  const auto optimizer = Make<Adam>("");
  TensorList weights = StartWeights(at::kFloat);
  TakeSteps(*optimizer, 0, 2, weights);
  ComponentState state = optimizer->SaveState();
  state.tensors.erase("second_moment");
  EXPECT_EQ(optimizer->LoadState(state).code(),
            absl::StatusCode::kInvalidArgument);
  state = optimizer->SaveState();
  state.scalars["steps"] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(optimizer->LoadState(state).code(),
            absl::StatusCode::kInvalidArgument);
  state = optimizer->SaveState();
  state.tensors["first_moment"].pop_back();
  EXPECT_EQ(optimizer->LoadState(state).code(),
            absl::StatusCode::kInvalidArgument);
}

// m = g and v = g^2 after correction: every coordinate moves by lr.
TEST(AdamTest, TheFirstStepIgnoresTheGradientsScale) {
  const auto optimizer = Make<Adam>("eps = 1e-30");
  TensorList weights = {at::zeros({2}, at::kDouble)};
  const TensorList gradient = {at::tensor({1e-6, -1e6}, at::kDouble)};
  ASSERT_TRUE(optimizer->Step(gradient, 0.5, weights).ok());
  EXPECT_NEAR(weights[0][0].item<double>(), -0.5, 1e-12);
  EXPECT_NEAR(weights[0][1].item<double>(), 0.5, 1e-12);
}

TEST(SgdTest, ClippingBelowTheNormChangesNoBit) {
  TensorList clipped = StartWeights(at::kFloat);
  TensorList free = StartWeights(at::kFloat);
  TakeSteps(*Make<Sgd>("clip_norm = 1000"), 0, kSteps, clipped);
  TakeSteps(*Make<Sgd>(""), 0, kSteps, free);
  EXPECT_EQ(Sha256Hex(clipped), Sha256Hex(free));
}

TEST(SgdTest, ClipsToTheNormOfAllParametersTogether) {
  const auto optimizer = Make<Sgd>("clip_norm = 1");
  TensorList weights = {at::zeros({1}, at::kDouble),
                        at::zeros({1}, at::kDouble)};
  const TensorList gradient = {at::full({1}, 30.0, at::kDouble),
                               at::full({1}, 40.0, at::kDouble)};
  ASSERT_TRUE(optimizer->Step(gradient, 1, weights).ok());
  EXPECT_NEAR(weights[0].item<double>(), -0.6, 1e-7);
  EXPECT_NEAR(weights[1].item<double>(), -0.8, 1e-7);
}

TEST(SgdTest, WithoutMomentumThereIsNoState) {
  const auto optimizer = Make<Sgd>("");
  TensorList weights = StartWeights(at::kFloat);
  TakeSteps(*optimizer, 0, 2, weights);
  EXPECT_TRUE(optimizer->SaveState().empty());
  ComponentState state;
  state.tensors["velocity"] = weights;
  EXPECT_EQ(optimizer->LoadState(state).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(SgdTest, TensorsOfAnySizeAreStepped) {
  for (const int64_t size : {0, 1, 7, 1000}) {
    const auto optimizer = Make<Sgd>("momentum = 0.5");
    TensorList weights = {at::ones({size})};
    ASSERT_TRUE(optimizer->Step({at::ones({size})}, 0.25, weights).ok());
    EXPECT_TRUE(weights[0].equal(at::full({size}, 0.75))) << size;
  }
}

TEST(SgdTest, StepsBfloat16Weights) {
  const auto optimizer = Make<Sgd>("momentum = 0.5");
  TensorList weights = {at::ones({3}, at::kBFloat16)};
  ASSERT_TRUE(
      optimizer->Step({at::ones({3}, at::kBFloat16)}, 0.25, weights).ok());
  EXPECT_EQ(weights[0][0].item<float>(), 0.75);
}

TEST(SgdTest, AGradientOfAnotherTypeIsConverted) {
  TensorList weights = {at::ones({3}, at::kDouble)};
  ASSERT_TRUE(Make<Sgd>("")->Step({at::ones({3})}, 0.25, weights).ok());
  EXPECT_EQ(weights[0][0].item<double>(), 0.75);
}

// Moments of a gradient of 0 stay 0: decay alone moves the weights.
TEST(AdamWTest, DecayNeedsNoGradient) {
  const auto optimizer = Make<AdamW>("weight_decay = 0.5");
  TensorList weights = {at::full({2, 2}, 8.0, at::kDouble)};
  const TensorList gradient = {at::zeros({2, 2}, at::kDouble)};
  for (int t = 0; t < 3; ++t) {
    ASSERT_TRUE(optimizer->Step(gradient, 1, weights).ok());
  }
  EXPECT_TRUE(weights[0].equal(at::ones({2, 2}, at::kDouble)));
}

TEST(AdamWTest, BiasesDecayUnlessTheyAreExcluded) {
  TensorList weights = {at::ones({2})};
  const TensorList gradient = {at::zeros({2})};
  ASSERT_TRUE(Make<AdamW>("weight_decay = 0.5\nexclude_1d = true")
                  ->Step(gradient, 1, weights)
                  .ok());
  EXPECT_TRUE(weights[0].equal(at::ones({2})));
  ASSERT_TRUE(
      Make<AdamW>("weight_decay = 0.5")->Step(gradient, 1, weights).ok());
  EXPECT_TRUE(weights[0].equal(at::full({2}, 0.5)));
}

// |w| = 5 and |u| = 10: a rate of 0.5 * 0.2 * 5 / 10 for each element.
TEST(LarsTest, TheFirstStepIsThatOfTheFormula) {
  const auto optimizer = Make<Lars>("trust_coefficient = 0.2");
  TensorList weights = {at::tensor({3.0, 4.0}, at::kDouble).view({1, 2})};
  const TensorList gradient = {
      at::tensor({6.0, -8.0}, at::kDouble).view({1, 2})};
  ASSERT_TRUE(optimizer->Step(gradient, 0.5, weights).ok());
  EXPECT_NEAR(weights[0][0][0].item<double>(), 3 - 0.05 * 6, 1e-15);
  EXPECT_NEAR(weights[0][0][1].item<double>(), 4 + 0.05 * 8, 1e-15);
}

// With the rate outside the momentum a rate of 0 would stop the weights.
TEST(LarsTest, KeptDirectionsKeepTheirRate) {
  const auto optimizer = Make<Lars>("momentum = 0.5");
  TensorList weights = {at::zeros({1, 2}, at::kDouble)};
  const TensorList gradient = {at::ones({1, 2}, at::kDouble)};
  ASSERT_TRUE(optimizer->Step(gradient, 0.25, weights).ok());
  EXPECT_EQ(weights[0][0][0].item<double>(), -0.25);
  ASSERT_TRUE(optimizer->Step(gradient, 0, weights).ok());
  EXPECT_EQ(weights[0][0][0].item<double>(), -0.375);
}

TEST(LarsTest, ALayerWithoutNormTakesAPlainStep) {
  for (const char* name : {"lars", "tvlars", "lamb"}) {
    const auto optimizer = MakeOptimizer(name, "weight_decay = 0.5");
    TensorList weights = {at::zeros({2, 2}), at::ones({2, 2})};
    const TensorList gradient = {at::ones({2, 2}), at::zeros({2, 2})};
    ASSERT_TRUE(optimizer->Step(gradient, 0.125, weights).ok());
    EXPECT_NEAR(weights[0][0][0].item<float>(), -0.125, 1e-6) << name;
    EXPECT_LT(weights[1][0][0].item<float>(), 1) << name;
    EXPECT_GT(weights[1][0][0].item<float>(), 0.5) << name;
  }
}

// 1 / (alpha + exp(lambda (t - delay))) + gamma_min with lambda = ln 2.
TEST(TvLarsTest, TheRatioFallsAlongItsSigmoid) {
  const auto optimizer = Make<TvLars>(
      "lambda = 0.6931471805599453\ndelay = 2\nalpha = 0.5\n"
      "gamma_min = 0.25\nmomentum = 0\ntrust_coefficient = 0.01");
  for (const double factor :
       {1 / 0.75 + 0.25, 1 / 1.0 + 0.25, 1 / 1.5 + 0.25, 1 / 2.5 + 0.25}) {
    TensorList weights = {at::ones({1, 1}, at::kDouble)};
    const TensorList gradient = {at::full({1, 1}, 7.0, at::kDouble)};
    ASSERT_TRUE(optimizer->Step(gradient, 1, weights).ok());
    EXPECT_NEAR(weights[0].item<double>(), 1 - 0.01 * factor, 1e-14);
  }
}

TEST(TvLarsTest, EndsAsLarsWithAFloorOfOne) {
  const auto tvlars = Make<TvLars>("lambda = 1000\ngamma_min = 1");
  const auto lars = Make<Lars>("");
  TensorList weights = StartWeights(at::kFloat);
  // The factor is 1 from the second step on; the first leaves no trace.
  TensorList still = ZerosLike(weights);
  ASSERT_TRUE(tvlars->Step(still, 0, weights).ok());
  TensorList expected = Clone(weights);
  TakeSteps(*tvlars, 1, kSteps, weights);
  TakeSteps(*lars, 1, kSteps, expected);
  EXPECT_EQ(Sha256Hex(weights), Sha256Hex(expected));
}

TEST(TvLarsTest, CountsItsStepsWithoutMomentumToo) {
  const auto optimizer = Make<TvLars>("momentum = 0");
  EXPECT_TRUE(optimizer->SaveState().empty());
  TensorList weights = StartWeights(at::kFloat);
  TakeSteps(*optimizer, 0, 3, weights);
  EXPECT_TRUE(optimizer->SaveState().tensors.empty());
  EXPECT_EQ(optimizer->SaveState().scalars.at("steps"), 3);
}

TEST(FedAvgMTest, IsMomentumOnTheServer) {
  TensorList weights = StartWeights(at::kFloat);
  TensorList expected = Clone(weights);
  TakeSteps(*Make<FedAvgM>("lr = 0.5"), 0, kSteps, weights);
  TakeSteps(*Make<Sgd>("lr = 0.5\nmomentum = 0.9"), 0, kSteps, expected);
  EXPECT_EQ(Sha256Hex(weights), Sha256Hex(expected));
}

TEST(FedAvgMTest, WithoutMomentumARateOfOneIsFederatedAveraging) {
  TensorList weights = {at::full({2}, 3.0)};
  ASSERT_TRUE(Make<FedAvgM>("momentum = 0")
                  ->Step({at::full({2}, 0.5)}, 1, weights)
                  .ok());
  EXPECT_TRUE(weights[0].equal(at::full({2}, 2.5)));
}

// m = 0.1 * 3 and v = 0.99 * 0.5^2 + 0.01 * 9 without a correction; Yogi's v
// moves by 0.01 * 9 upwards, because v < g^2.
TEST(FedAdamTest, TheFirstStepStartsFromTauSquared) {
  const TensorList gradient = {at::full({1}, 3.0, at::kDouble)};
  TensorList adam = {at::zeros({1}, at::kDouble)};
  TensorList yogi = {at::zeros({1}, at::kDouble)};
  ASSERT_TRUE(Make<FedAdam>("tau = 0.5")->Step(gradient, 2, adam).ok());
  ASSERT_TRUE(Make<FedYogi>("tau = 0.5")->Step(gradient, 2, yogi).ok());
  EXPECT_NEAR(adam[0].item<double>(), -0.6 / (std::sqrt(0.3375) + 0.5), 1e-15);
  EXPECT_NEAR(yogi[0].item<double>(), -0.6 / (std::sqrt(0.34) + 0.5), 1e-15);
}

// FedAdam forgets a share of v in every round, Yogi a share of g^2.
TEST(FedYogiTest, ASmallChangeLowersTheSecondMomentSlowly) {
  const auto adam = Make<FedAdam>("tau = 1\nbeta2 = 0.5");
  const auto yogi = Make<FedYogi>("tau = 1\nbeta2 = 0.5");
  TensorList weights = {at::zeros({1}, at::kDouble)};
  const TensorList gradient = {at::full({1}, 0.5, at::kDouble)};
  ASSERT_TRUE(adam->Step(gradient, 0.1, weights).ok());
  ASSERT_TRUE(yogi->Step(gradient, 0.1, weights).ok());
  const auto second_moment = [](const Optimizer& optimizer) {
    return optimizer.SaveState().tensors.at("second_moment")[0].item<double>();
  };
  EXPECT_EQ(second_moment(*adam), 0.5 + 0.125);
  EXPECT_EQ(second_moment(*yogi), 1 - 0.125);
}

TEST(OptimizerOptionsTest, NesterovNeedsMomentum) {
  const absl::Status status = TryMake<Sgd>("nesterov = true").status();
  EXPECT_EQ(FailureOf(status), Failure::kConfig);
  EXPECT_THAT(std::string(status.message()), HasSubstr("momentum"));
}

TEST(OptimizerOptionsTest, BoundsHold) {
  EXPECT_FALSE(TryMake<Sgd>("lr = -0.1").ok());
  EXPECT_FALSE(TryMake<Sgd>("momentum = 1").ok());
  EXPECT_FALSE(TryMake<Sgd>("dampening = 0.1").ok());
  EXPECT_FALSE(TryMake<Adam>("beta1 = 1").ok());
  EXPECT_FALSE(TryMake<Adam>("eps = 0").ok());
  EXPECT_FALSE(TryMake<Lars>("trust_coefficient = 0").ok());
  EXPECT_FALSE(TryMake<TvLars>("alpha = 0").ok());
  EXPECT_FALSE(TryMake<TvLars>("delay = -1").ok());
  EXPECT_FALSE(TryMake<Lamb>("beta2 = 1").ok());
  EXPECT_FALSE(TryMake<FedAvgM>("momentum = 1").ok());
  EXPECT_FALSE(TryMake<FedAdam>("tau = 0").ok());
  EXPECT_FALSE(TryMake<FedYogi>("weight_decay = 0.1").ok());
}

TEST(OptimizerOptionsTest, TraitsTellWhatUndoesAMapper) {
  EXPECT_FALSE(Make<Sgd>("")->traits().scale_invariant);
  EXPECT_FALSE(Make<Sgd>("")->traits().clips);
  EXPECT_TRUE(Make<Sgd>("clip_norm = 1")->traits().clips);
  EXPECT_TRUE(Make<Adam>("")->traits().scale_invariant);
  EXPECT_TRUE(Make<Adam>("clip_norm = 1")->traits().clips);
  EXPECT_FALSE(Make<FedAvgM>("")->traits().scale_invariant);
  for (const char* name :
       {"adamw", "lars", "tvlars", "lamb", "fedadam", "fedyogi"}) {
    EXPECT_TRUE(MakeOptimizer(name, "")->traits().scale_invariant) << name;
    EXPECT_FALSE(MakeOptimizer(name, "")->traits().clips) << name;
    EXPECT_TRUE(MakeOptimizer(name, "clip_norm = 1")->traits().clips) << name;
  }
}

}  // namespace
}  // namespace fedlb
