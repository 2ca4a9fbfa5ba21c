#include <cmath>
#include <cstdint>

#include <gtest/gtest.h>

#include "optim/lr_schedules.h"
#include "plugins/make_component.h"

namespace fedlb {
namespace {

using optim::Constant;
using optim::Cosine;
using optim::LinearWarmup;
using optim::WarmupCosine;

TEST(ConstantTest, IsAlwaysOne) {
  const auto schedule = Make<Constant>("");
  for (const int64_t round : {0, 1, 99}) {
    EXPECT_EQ(schedule->Factor(round, 100), 1);
  }
}

TEST(CosineTest, FallsFromOneByHalfACosine) {
  const auto schedule = Make<Cosine>("");
  EXPECT_DOUBLE_EQ(schedule->Factor(0, 12), 1);
  EXPECT_DOUBLE_EQ(schedule->Factor(4, 12), 0.75);
  EXPECT_DOUBLE_EQ(schedule->Factor(6, 12), 0.5);
  EXPECT_DOUBLE_EQ(schedule->Factor(8, 12), 0.25);
  EXPECT_GT(schedule->Factor(11, 12), 0);
}

TEST(CosineTest, TendsToTheMinimum) {
  const auto schedule = Make<Cosine>("min_factor = 0.2");
  EXPECT_DOUBLE_EQ(schedule->Factor(0, 12), 1);
  EXPECT_DOUBLE_EQ(schedule->Factor(6, 12), 0.6);
  EXPECT_NEAR(schedule->Factor(9999, 10000), 0.2, 1e-7);
}

TEST(LinearWarmupTest, RisesInEqualSteps) {
  const auto schedule =
      Make<LinearWarmup>("warmup_rounds = 4\nstart_factor = 0.2");
  EXPECT_DOUBLE_EQ(schedule->Factor(0, 100), 0.2);
  EXPECT_DOUBLE_EQ(schedule->Factor(1, 100), 0.4);
  EXPECT_DOUBLE_EQ(schedule->Factor(3, 100), 0.8);
  EXPECT_EQ(schedule->Factor(4, 100), 1);
  EXPECT_EQ(schedule->Factor(99, 100), 1);
}

TEST(LinearWarmupTest, NoRoundsMeansNoWarmup) {
  EXPECT_EQ(Make<LinearWarmup>("warmup_rounds = 0")->Factor(0, 3), 1);
}

TEST(WarmupCosineTest, IsWarmupAndThenCosineOverTheRest) {
  const auto schedule = Make<WarmupCosine>(
      "warmup_rounds = 4\nstart_factor = 0.2\nmin_factor = 0.5");
  const auto warmup =
      Make<LinearWarmup>("warmup_rounds = 4\nstart_factor = 0.2");
  const auto cosine = Make<Cosine>("min_factor = 0.5");
  for (int64_t round = 0; round < 4; ++round) {
    EXPECT_EQ(schedule->Factor(round, 16), warmup->Factor(round, 16));
  }
  for (int64_t round = 4; round < 16; ++round) {
    EXPECT_EQ(schedule->Factor(round, 16), cosine->Factor(round - 4, 12));
  }
}

TEST(WarmupCosineTest, ARunShorterThanTheWarmupIsAllWarmup) {
  const auto schedule = Make<WarmupCosine>("");
  for (int64_t round = 0; round < 3; ++round) {
    const double factor = schedule->Factor(round, 3);
    EXPECT_TRUE(std::isfinite(factor));
    EXPECT_LT(factor, 1);
  }
}

TEST(ScheduleOptionsTest, BoundsHold) {
  EXPECT_FALSE(TryMake<Cosine>("min_factor = 1.5").ok());
  EXPECT_FALSE(TryMake<LinearWarmup>("warmup_rounds = -1").ok());
  EXPECT_FALSE(TryMake<LinearWarmup>("start_factor = 0").ok());
  EXPECT_FALSE(TryMake<Constant>("factor = 2").ok());
}

}  // namespace
}  // namespace fedlb
