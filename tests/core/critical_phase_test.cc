#include "fedlb/critical_phase.h"

#include <cmath>
#include <vector>

#include <ATen/ops/full.h>

#include "fedlb/random.h"
#include "gtest/gtest.h"

namespace fedlb {
namespace {

CriticalPhaseOptions Unsmoothed() {
  CriticalPhaseOptions options;
  options.smoothing = "none";
  return options;
}

TEST(CriticalPhaseTest, UnsmoothedChangeIsTheRelativeChangeOfTheSquaredNorm) {
  CriticalPhaseDetector detector(Unsmoothed(), 1);
  detector.ObserveSquaredNorm(4);
  EXPECT_TRUE(detector.critical());  // nothing to compare with
  EXPECT_EQ(detector.gradient_change(), 0);
  detector.ObserveSquaredNorm(5);
  EXPECT_DOUBLE_EQ(detector.gradient_change(), 0.25);
  EXPECT_FALSE(detector.critical());
  detector.ObserveSquaredNorm(2);
  EXPECT_DOUBLE_EQ(detector.gradient_change(), 0.6);
  EXPECT_TRUE(detector.critical());
}

TEST(CriticalPhaseTest, NormPowerOneComparesNorms) {
  CriticalPhaseOptions options = Unsmoothed();
  options.norm_power = 1;
  CriticalPhaseDetector detector(options, 1);
  detector.ObserveSquaredNorm(4);
  detector.ObserveSquaredNorm(9);
  EXPECT_DOUBLE_EQ(detector.gradient_change(), 0.5);
  EXPECT_TRUE(detector.critical());  // the threshold itself is critical
}

TEST(CriticalPhaseTest, NormIsTakenOverAllTensors) {
  CriticalPhaseDetector detector(Unsmoothed(), 1);
  detector.Observe({at::full({3}, 1.0f), at::full({1}, 1.0f)});  // 4
  detector.Observe({at::full({2}, 2.0f), at::full({2}, 1.0f)});  // 10
  EXPECT_DOUBLE_EQ(detector.gradient_change(), 1.5);
}

// Window 3, factor 1/2: weights 1, 1/2, 1/4 from the newest, sum 7/4.
TEST(CriticalPhaseTest, SmoothingWeightsTheWindow) {
  CriticalPhaseOptions options;
  options.window = 3;
  options.smoothing_factor = 0.5;
  CriticalPhaseDetector detector(options, 1);
  for (const double value : {1.0, 2.0, 4.0}) {
    EXPECT_TRUE(detector.critical());
    detector.ObserveSquaredNorm(value);
  }
  EXPECT_TRUE(detector.critical());  // full, but there is no change yet
  detector.ObserveSquaredNorm(8);
  const double before = (4 + 2 / 2.0 + 1 / 4.0) / 1.75;
  const double after = (8 + 4 / 2.0 + 2 / 4.0) / 1.75;
  EXPECT_NEAR(detector.gradient_change(), (after - before) / before, 1e-15);
  EXPECT_TRUE(detector.critical());
}

TEST(CriticalPhaseTest, DefaultFactorIsAHundredthPerWorker) {
  CriticalPhaseOptions options;
  options.window = 2;
  CriticalPhaseDetector detector(options, 16);
  detector.ObserveSquaredNorm(1);
  detector.ObserveSquaredNorm(1);
  detector.ObserveSquaredNorm(2);
  // (2 + 0.84) / 1.84 against (1 + 0.84) / 1.84 = 1.
  EXPECT_NEAR(detector.gradient_change(), 1 / 1.84, 1e-14);
}

TEST(CriticalPhaseTest, QuantileThresholdMarksItsShareOfSteps) {
  CriticalPhaseOptions options = Unsmoothed();
  options.threshold_kind = "quantile";
  options.threshold = 0.8;
  CriticalPhaseDetector detector(options, 1);
  RandomStream stream({.seed = 3, .purpose = "norms"});
  constexpr int kSteps = 20000;
  int critical = 0;
  for (int i = 0; i < kSteps; ++i) {
    detector.ObserveSquaredNorm(std::exp(0.3 * stream.Normal()));
    critical += detector.critical() ? 1 : 0;
  }
  EXPECT_NEAR(static_cast<double>(critical) / kSteps, 0.2, 0.02);
}

TEST(CriticalPhaseTest, RestoredDetectorGoesOnWithTheSameBits) {
  for (const char* kind : {"absolute", "quantile"}) {
    CriticalPhaseOptions options;
    options.threshold_kind = kind;
    options.window = 4;
    CriticalPhaseDetector original(options, 2);
    RandomStream stream({.seed = 4, .purpose = "norms"});
    for (int i = 0; i < 50; ++i) {
      original.ObserveSquaredNorm(stream.Gamma(3));
    }
    CriticalPhaseDetector restored(options, 2);
    ASSERT_TRUE(restored.LoadState(original.SaveState()).ok());
    for (int i = 0; i < 50; ++i) {
      const double norm = stream.Gamma(3);
      original.ObserveSquaredNorm(norm);
      restored.ObserveSquaredNorm(norm);
      ASSERT_EQ(original.gradient_change(), restored.gradient_change());
      ASSERT_EQ(original.critical(), restored.critical());
    }
  }
}

TEST(CriticalPhaseTest, ForeignStateIsRefused) {
  CriticalPhaseDetector detector(CriticalPhaseOptions(), 1);
  EXPECT_EQ(detector.LoadState({.scalars = {{"step", 1}}}).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(CriticalPhaseTest, VanishingGradientGivesAFiniteChange) {
  CriticalPhaseDetector detector(Unsmoothed(), 1);
  detector.ObserveSquaredNorm(1);
  detector.ObserveSquaredNorm(0);
  EXPECT_DOUBLE_EQ(detector.gradient_change(), 1);
  detector.ObserveSquaredNorm(0);
  detector.ObserveSquaredNorm(1);
  EXPECT_TRUE(std::isfinite(detector.gradient_change()));
}

}  // namespace
}  // namespace fedlb
