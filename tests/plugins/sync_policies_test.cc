#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fedlb/round_task.h"
#include "fedlb/status.h"
#include "plugins/make_component.h"
#include "sync/sync_policies.h"

namespace fedlb {
namespace {

using sync::Bsp;
using sync::FedAvg;
using ::testing::HasSubstr;

TEST(BspTest, AsksForAGradient) {
  EXPECT_EQ(Make<Bsp>("")->Plan(3).kind, RoundWork::Kind::kGradient);
}

TEST(FedAvgTest, OneEpochUnlessToldOtherwise) {
  const RoundWork work = Make<FedAvg>("")->Plan(3);
  EXPECT_EQ(work.kind, RoundWork::Kind::kLocalSteps);
  EXPECT_EQ(work.local_epochs, 1);
  EXPECT_EQ(work.local_steps, 0);
}

TEST(FedAvgTest, EpochsMayBeFractions) {
  const RoundWork work = Make<FedAvg>("local_epochs = 0.5")->Plan(0);
  EXPECT_EQ(work.local_epochs, 0.5);
  EXPECT_EQ(work.local_steps, 0);
}

TEST(FedAvgTest, StepsReplaceEpochs) {
  const RoundWork work = Make<FedAvg>("local_steps = 5")->Plan(0);
  EXPECT_EQ(work.kind, RoundWork::Kind::kLocalSteps);
  EXPECT_EQ(work.local_epochs, 0);
  EXPECT_EQ(work.local_steps, 5);
}

TEST(FedAvgTest, StepsAndEpochsTogetherAreRefused) {
  const absl::Status status =
      TryMake<FedAvg>("local_steps = 5\nlocal_epochs = 1").status();
  EXPECT_EQ(FailureOf(status), Failure::kConfig);
  EXPECT_THAT(std::string(status.message()), HasSubstr("local_steps"));
}

TEST(FedAvgTest, BoundsHold) {
  EXPECT_FALSE(TryMake<FedAvg>("local_steps = -1").ok());
  EXPECT_FALSE(TryMake<FedAvg>("local_epochs = -0.5").ok());
  EXPECT_FALSE(TryMake<FedAvg>("local_epochs = nan").ok());
}

}  // namespace
}  // namespace fedlb
