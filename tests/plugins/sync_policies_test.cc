#include <limits>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fedlb/round_task.h"
#include "fedlb/status.h"
#include "plugins/make_component.h"
#include "sync/post_local.h"
#include "sync/selsync.h"
#include "sync/sync_policies.h"

namespace fedlb {
namespace {

using sync::Bsp;
using sync::FedAvg;
using sync::PostLocal;
using sync::SelSync;
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

ComponentContext ContextOf(int64_t num_rounds) {
  ComponentContext context;
  context.num_rounds = num_rounds;
  return context;
}

TEST(PostLocalTest, GradientsUntilTheSwitchAndStepsFromThereOn) {
  const auto policy =
      Make<PostLocal>("switch_at = 3\nlocal_steps = 8", ContextOf(10));
  for (int64_t round = 0; round < 10; ++round) {
    const RoundWork work = policy->Plan(round);
    EXPECT_EQ(work.kind, round < 3 ? RoundWork::Kind::kGradient
                                   : RoundWork::Kind::kLocalSteps);
    EXPECT_EQ(work.local_steps, round < 3 ? 0 : 8);
    EXPECT_EQ(work.local_epochs, 0);
    EXPECT_EQ(work.base_round, -1);
  }
}

TEST(PostLocalTest, SwitchesHalfwayUnlessToldOtherwise) {
  const auto even = Make<PostLocal>("", ContextOf(300));
  EXPECT_EQ(even->Plan(149).kind, RoundWork::Kind::kGradient);
  EXPECT_EQ(even->Plan(150).kind, RoundWork::Kind::kLocalSteps);
  const auto odd = Make<PostLocal>("", ContextOf(3));
  EXPECT_EQ(odd->Plan(1).kind, RoundWork::Kind::kGradient);
  EXPECT_EQ(odd->Plan(2).kind, RoundWork::Kind::kLocalSteps);
}

TEST(PostLocalTest, BoundsHold) {
  EXPECT_FALSE(TryMake<PostLocal>("switch_at = -1").ok());
  EXPECT_FALSE(TryMake<PostLocal>("local_steps = 0").ok());
}

TEST(SelSyncTest, ClientsGoOnFromTheRoundOfTheLastAverage) {
  const auto policy = Make<SelSync>("local_steps = 2", ContextOf(100));
  EXPECT_TRUE(policy->KeepsClientWeights());
  const RoundWork work = policy->Plan(0);
  EXPECT_EQ(work.kind, RoundWork::Kind::kLocalSteps);
  EXPECT_EQ(work.local_steps, 2);
  EXPECT_EQ(work.base_round, 0);
  EXPECT_EQ(policy->CloseRound(0, 0.0).value(), false);
  EXPECT_EQ(policy->Plan(1).base_round, 0);
  EXPECT_EQ(policy->CloseRound(1, 0.25).value(), true);
  // Round 2 is the first to begin with the new weights.
  EXPECT_EQ(policy->Plan(2).base_round, 2);
  EXPECT_EQ(policy->CloseRound(2, 0.0).value(), false);
  EXPECT_EQ(policy->Plan(3).base_round, 2);
}

TEST(SelSyncTest, AClientVotesFromTheThresholdOn) {
  const auto policy = Make<SelSync>("threshold = 0.25");
  EXPECT_FALSE(policy->Votes(0));
  EXPECT_FALSE(policy->Votes(0.249));
  EXPECT_TRUE(policy->Votes(0.25));
  EXPECT_TRUE(policy->Votes(7));
  EXPECT_TRUE(policy->Votes(std::numeric_limits<double>::quiet_NaN()));
}

TEST(SelSyncTest, AQuorumAsksForMoreThanOneVote) {
  const auto policy = Make<SelSync>("quorum = 0.5", ContextOf(100));
  EXPECT_FALSE(policy->CloseRound(0, 0.4).value());
  EXPECT_TRUE(policy->CloseRound(1, 0.5).value());
  const auto all = Make<SelSync>("quorum = 1.0", ContextOf(100));
  EXPECT_FALSE(all->CloseRound(0, 0.99).value());
  // A mean of ones.
  EXPECT_TRUE(all->CloseRound(1, 1 - 1e-16).value());
}

TEST(SelSyncTest, TheLastRoundAverages) {
  const auto policy = Make<SelSync>("", ContextOf(3));
  EXPECT_FALSE(policy->CloseRound(0, 0).value());
  EXPECT_FALSE(policy->CloseRound(1, 0).value());
  EXPECT_TRUE(policy->CloseRound(2, 0).value());
}

TEST(SelSyncTest, ALoadedStateGoesOn) {
  const auto policy = Make<SelSync>("", ContextOf(100));
  ASSERT_TRUE(policy->CloseRound(6, 1).value());
  const auto resumed = Make<SelSync>("", ContextOf(100));
  ASSERT_TRUE(resumed->LoadState(policy->SaveState()).ok());
  EXPECT_EQ(resumed->Plan(8).base_round, 7);
}

TEST(SelSyncTest, StatesOfNoRoundAreRefused) {
  const auto policy = Make<SelSync>("");
  for (const double base :
       {-1.0, 0.5, 1e300, std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_EQ(policy->LoadState({.scalars = {{"base_round", base}}}).code(),
              absl::StatusCode::kInvalidArgument)
        << base;
  }
}

TEST(SelSyncTest, BoundsHold) {
  EXPECT_FALSE(TryMake<SelSync>("threshold = -0.1").ok());
  EXPECT_FALSE(TryMake<SelSync>("quorum = 1.1").ok());
  EXPECT_FALSE(TryMake<SelSync>("local_steps = 0").ok());
}

}  // namespace
}  // namespace fedlb
