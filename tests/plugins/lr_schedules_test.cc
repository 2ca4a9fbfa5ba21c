#include <cmath>
#include <cstdint>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "fedlb/status.h"
#include "optim/lr_schedules.h"
#include "plugins/make_component.h"

namespace fedlb {
namespace {

using optim::Constant;
using optim::Cosine;
using optim::Exponential;
using optim::LinearWarmup;
using optim::Polynomial;
using optim::Step;
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

TEST(StepTest, FallsAtSharesOfTheRun) {
  const auto schedule = Make<Step>("milestones = [0.5, 0.75]\ngamma = 0.1");
  for (int64_t round = 0; round < 100; ++round) {
    const double expected = round < 50 ? 1 : round < 75 ? 0.1 : 0.01;
    EXPECT_DOUBLE_EQ(schedule->Factor(round, 100), expected) << round;
  }
}

TEST(StepTest, FallsAtRounds) {
  const auto schedule = Make<Step>("milestones = [3, 1]\ngamma = 0.5");
  EXPECT_EQ(schedule->Factor(0, 10), 1);
  EXPECT_EQ(schedule->Factor(1, 10), 0.5);
  EXPECT_EQ(schedule->Factor(2, 10), 0.5);
  EXPECT_EQ(schedule->Factor(3, 10), 0.25);
  EXPECT_EQ(schedule->Factor(9, 10), 0.25);
}

// k / n times n is more than k for some k and n.
TEST(StepTest, AShareThatIsAWholeRoundFallsThere) {
  for (int64_t round = 1; round < 100; ++round) {
    const auto schedule = Make<Step>(
        absl::StrCat("milestones = [", static_cast<double>(round) / 100, "]"));
    EXPECT_EQ(schedule->Factor(round - 1, 100), 1) << round;
    EXPECT_EQ(schedule->Factor(round, 100), 0.1) << round;
  }
}

TEST(StepTest, AShareBetweenRoundsFallsInTheNextOne) {
  const auto schedule = Make<Step>("milestones = [0.5]");
  EXPECT_EQ(schedule->Factor(2, 5), 1);
  EXPECT_EQ(schedule->Factor(3, 5), 0.1);
}

TEST(StepTest, WarmsUpFirst) {
  const auto schedule = Make<Step>(
      "milestones = [0.5]\ngamma = 0.5\nwarmup_rounds = 4\n"
      "start_factor = 0.2");
  const auto warmup =
      Make<LinearWarmup>("warmup_rounds = 4\nstart_factor = 0.2");
  for (int64_t round = 0; round < 5; ++round) {
    EXPECT_EQ(schedule->Factor(round, 10), warmup->Factor(round, 10));
  }
  EXPECT_EQ(schedule->Factor(5, 10), 0.5);
}

TEST(ExponentialTest, FallsInEveryRound) {
  const auto schedule = Make<Exponential>("gamma = 0.5\nmin_factor = 0.1");
  EXPECT_EQ(schedule->Factor(0, 10), 1);
  EXPECT_EQ(schedule->Factor(1, 10), 0.5);
  EXPECT_EQ(schedule->Factor(3, 10), 0.125);
  EXPECT_EQ(schedule->Factor(4, 10), 0.1);
  EXPECT_EQ(schedule->Factor(9, 10), 0.1);
}

TEST(PolynomialTest, IsAPowerOfWhatIsLeft) {
  const auto line = Make<Polynomial>("");
  const auto parabola = Make<Polynomial>("power = 2\nmin_factor = 0.2");
  for (int64_t round = 0; round < 8; ++round) {
    const double left = 1 - static_cast<double>(round) / 8;
    EXPECT_DOUBLE_EQ(line->Factor(round, 8), left);
    EXPECT_DOUBLE_EQ(parabola->Factor(round, 8), 0.2 + 0.8 * left * left);
  }
}

template <typename Schedule>
void ExpectWarmupAndThenTheWholeFall() {
  const std::string options = "warmup_rounds = 4\nstart_factor = 0.2";
  const auto warmup = Make<LinearWarmup>(options);
  const auto schedule = Make<Schedule>(options);
  const auto fall = Make<Schedule>("");
  for (int64_t round = 0; round < 10; ++round) {
    EXPECT_EQ(schedule->Factor(round, 10), round < 4
                                               ? warmup->Factor(round, 10)
                                               : fall->Factor(round - 4, 6));
  }
  EXPECT_LT(schedule->Factor(2, 3), 1);
}

TEST(ExponentialTest, WarmsUpFirst) {
  ExpectWarmupAndThenTheWholeFall<Exponential>();
}

TEST(PolynomialTest, WarmsUpFirst) {
  ExpectWarmupAndThenTheWholeFall<Polynomial>();
}

TEST(ScheduleOptionsTest, MilestonesAreSharesOrWholeRounds) {
  EXPECT_TRUE(TryMake<Step>("milestones = []").ok());
  EXPECT_TRUE(TryMake<Step>("milestones = [0.25, 30.0, 40]").ok());
  EXPECT_FALSE(TryMake<Step>("milestones = [0.0]").ok());
  EXPECT_FALSE(TryMake<Step>("milestones = [-3]").ok());
  EXPECT_FALSE(TryMake<Step>("milestones = [1e300]").ok());
  const absl::Status status = TryMake<Step>("milestones = [2.5]").status();
  EXPECT_EQ(FailureOf(status), Failure::kConfig);
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("2.5"));
}

TEST(ScheduleOptionsTest, BoundsHold) {
  EXPECT_FALSE(TryMake<Cosine>("min_factor = 1.5").ok());
  EXPECT_FALSE(TryMake<LinearWarmup>("warmup_rounds = -1").ok());
  EXPECT_FALSE(TryMake<LinearWarmup>("start_factor = 0").ok());
  EXPECT_FALSE(TryMake<Constant>("factor = 2").ok());
  EXPECT_FALSE(TryMake<Step>("gamma = 0").ok());
  EXPECT_FALSE(TryMake<Exponential>("gamma = 1.5").ok());
  EXPECT_FALSE(TryMake<Polynomial>("power = 0").ok());
}

}  // namespace
}  // namespace fedlb
