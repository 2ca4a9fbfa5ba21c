#include "fedlb/update_sink.h"

#include <cmath>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include <ATen/ops/full.h>

#include "absl/time/clock.h"
#include "conformance/sink_testing.h"
#include "fedlb/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedlb {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Update UpdateOf(int64_t client, float value, int64_t num_examples = 1) {
  Update update;
  update.round = 5;
  update.client = client;
  update.num_examples = num_examples;
  update.local_steps = 1;
  update.num_samples = num_examples;
  update.groups[kParametersGroup] = {at::full({2}, value)};
  return update;
}

class UpdateSinkTest : public testing::Test {
 protected:
  std::unique_ptr<UpdateSink> MakeSink(int64_t cohort, int64_t window = 100) {
    RoundTask task;
    task.round = 5;
    std::vector<int64_t> clients;
    for (int64_t i = 0; i < cohort; ++i) {
      clients.push_back(10 + i);
    }
    return std::make_unique<UpdateSink>(
        task, clients, TensorLayout{{"w", {2}, at::kFloat}}, TensorLayout{},
        gate_, window, compressor_, aggregator_,
        std::vector<UpdateObserver*>{});
  }

  // The cause for which a lone bad update was dropped.
  std::string CauseOf(Update update) {
    const auto sink = MakeSink(1);
    sink->Deliver(0, std::move(update));
    const auto result = sink->Finish();
    if (!result.ok() || result->dropped.size() != 1) {
      return "not dropped";
    }
    return std::string(result->dropped[0].second.message());
  }

  UpdateGateOptions gate_;
  NoCompression compressor_;
  RecordingMean aggregator_;
};

TEST_F(UpdateSinkTest, UpdatesAreAddedInTheOrderOfTheCohort) {
  const auto sink = MakeSink(4);
  for (const int64_t slot : {2, 0, 3, 1}) {
    sink->Deliver(slot, UpdateOf(10 + slot, static_cast<float>(slot)));
  }
  const auto result = sink->Finish();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(aggregator_.order, ElementsAre(10, 11, 12, 13));
  EXPECT_EQ(result->num_survivors, 4);
  EXPECT_EQ(result->aggregate[0][0].item<float>(), 1.5f);
}

TEST_F(UpdateSinkTest, DroppedClientsLeaveTheMeanOfTheOthers) {
  const auto sink = MakeSink(3);
  sink->Deliver(2, UpdateOf(12, 4, 3));
  sink->Drop(1, DivergedError("loss"));
  sink->Deliver(0, UpdateOf(10, 8, 1));
  const auto result = sink->Finish();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->aggregate[0][1].item<float>(), 5.0f);  // (3*4 + 8) / 4
  ASSERT_EQ(result->dropped.size(), 1u);
  EXPECT_EQ(result->dropped[0].first, 11);
  EXPECT_EQ(FailureOf(result->dropped[0].second), Failure::kDiverged);
}

TEST_F(UpdateSinkTest, LateUpdatesComeLastAndWeighLess) {
  const auto sink = MakeSink(2);
  Update late = UpdateOf(99, 5, 40);
  late.round = 2;
  sink->DeliverLate(3, std::move(late));
  Update earlier = UpdateOf(7, 0, 9);
  earlier.round = 1;
  sink->DeliverLate(4, std::move(earlier));
  sink->DeliverLate(1, UpdateOf(8, 0, 1));  // of another round than it says
  sink->Deliver(1, UpdateOf(11, 1, 10));
  sink->Deliver(0, UpdateOf(10, 1, 10));
  const auto result = sink->Finish();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(aggregator_.order, ElementsAre(10, 11, 7, 99));
  EXPECT_EQ(result->num_late, 2);
  // 40 / sqrt(1 + 3) = 20 and 9 / sqrt(1 + 4) = 4.02.
  EXPECT_EQ(result->num_examples, 10 + 10 + 4 + 20);
  EXPECT_FLOAT_EQ(result->aggregate[0][0].item<float>(), 120.0f / 44);
  ASSERT_EQ(result->dropped.size(), 1u);
  EXPECT_EQ(result->dropped[0].first, 8);
}

// Clients of several makes send different numbers.
TEST_F(UpdateSinkTest, AScalarsMeanIsOverTheUpdatesThatHaveIt) {
  const auto sink = MakeSink(3);
  Update first = UpdateOf(10, 1, 1);
  first.scalars = {{"loss", 2}, {"accuracy", 0.5}};
  Update second = UpdateOf(11, 1, 3);
  second.scalars = {{"loss", 6}};
  Update hostile = UpdateOf(12, 1);
  for (int i = 0; i < 300; ++i) {
    hostile.scalars["s" + std::to_string(i)] = 1;
  }
  sink->Deliver(0, std::move(first));
  sink->Deliver(1, std::move(second));
  sink->Deliver(2, std::move(hostile));
  const auto result = sink->Finish();
  EXPECT_EQ(result->scalar_means.at("loss"), 5);
  EXPECT_EQ(result->scalar_means.at("accuracy"), 0.5);
  ASSERT_EQ(result->dropped.size(), 1u);
  EXPECT_THAT(result->dropped[0].second.message(), HasSubstr("300 scalars"));
}

TEST_F(UpdateSinkTest, SaysWhetherASlotMayCome) {
  const auto sink = MakeSink(3, /*window=*/1);
  EXPECT_TRUE(sink->MayAdmit(0));
  EXPECT_FALSE(sink->MayAdmit(1));
  sink->Deliver(0, UpdateOf(10, 1));
  EXPECT_TRUE(sink->MayAdmit(1));
  sink->Cancel(absl::CancelledError("stop"));
  EXPECT_TRUE(sink->MayAdmit(2));
}

TEST_F(UpdateSinkTest, GateNamesWhatIsWrong) {
  EXPECT_THAT(CauseOf(UpdateOf(10, std::nanf(""))), HasSubstr("not finite"));
  EXPECT_THAT(CauseOf(UpdateOf(10, std::numeric_limits<float>::infinity())),
              HasSubstr("not finite"));
  EXPECT_THAT(CauseOf(UpdateOf(11, 1)), HasSubstr("client 11"));
  EXPECT_THAT(CauseOf(UpdateOf(10, 1, 0)), HasSubstr("0 examples"));
  EXPECT_THAT(CauseOf(UpdateOf(10, 1, int64_t{1} << 40)),
              HasSubstr("examples"));
  Update update = UpdateOf(10, 1);
  update.round = 4;
  EXPECT_THAT(CauseOf(update), HasSubstr("round 4"));
  update = UpdateOf(10, 1);
  update.kind = Update::Kind::kDelta;
  EXPECT_THAT(CauseOf(update), HasSubstr("delta"));
  update = UpdateOf(10, 1);
  update.groups[kParametersGroup] = {at::full({3}, 1.0f)};
  EXPECT_THAT(CauseOf(update), HasSubstr("[3] instead of [2]"));
  update.groups[kParametersGroup] = {at::full({2}, 1.0)};
  update.groups[kParametersGroup][0] = at::full({2}, 1.0, at::kDouble);
  EXPECT_THAT(CauseOf(update), HasSubstr("type"));
  update.groups.clear();
  EXPECT_THAT(CauseOf(update), HasSubstr("without parameters"));
  update = UpdateOf(10, 1);
  update.groups["control"] = {at::full({1}, std::nanf(""))};
  EXPECT_THAT(CauseOf(update), HasSubstr("control"));
  EXPECT_EQ(CauseOf(UpdateOf(10, 1)), "not dropped");
}

TEST_F(UpdateSinkTest, NormCapIsTheL2Norm) {
  gate_.max_norm = 5;
  EXPECT_THAT(CauseOf(UpdateOf(10, 3.6f)), HasSubstr("max_norm"));  // 5.09
  EXPECT_EQ(CauseOf(UpdateOf(10, 3.5f)), "not dropped");            // 4.95
}

TEST_F(UpdateSinkTest, SecondUpdateForASlotDoesNotCount) {
  const auto sink = MakeSink(2);
  sink->Deliver(1, UpdateOf(11, 1));
  sink->Deliver(1, UpdateOf(11, 100));
  sink->Deliver(0, UpdateOf(10, 3));
  sink->Deliver(0, UpdateOf(10, 100));
  const auto result = sink->Finish();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->aggregate[0][0].item<float>(), 2.0f);
}

TEST_F(UpdateSinkTest, ExtraGroupsOfAnotherShapeDropTheirClient) {
  const auto sink = MakeSink(2);
  Update first = UpdateOf(10, 1);
  first.groups["control"] = {at::full({2}, 4.0f)};
  Update second = UpdateOf(11, 1);
  second.groups["control"] = {at::full({3}, 4.0f)};
  sink->Deliver(0, first);
  sink->Deliver(1, second);
  const auto result = sink->Finish();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->num_survivors, 1);
  EXPECT_EQ(result->extra_means.at("control")[0][0].item<float>(), 4.0f);
}

TEST_F(UpdateSinkTest, ClientsFarAheadWaitForTheNextOneToBeAdded) {
  const auto sink = MakeSink(4, /*window=*/2);
  EXPECT_TRUE(sink->Admit(0));
  EXPECT_TRUE(sink->Admit(1));
  std::atomic<bool> admitted{false};
  std::thread ahead([&] { admitted = sink->Admit(2); });
  sink->Deliver(1, UpdateOf(11, 1));
  absl::SleepFor(absl::Milliseconds(50));
  EXPECT_FALSE(admitted);
  sink->Deliver(0, UpdateOf(10, 1));
  ahead.join();
  EXPECT_TRUE(admitted);
}

TEST_F(UpdateSinkTest, CancelEndsTheWaitAndTheRound) {
  const auto sink = MakeSink(4, /*window=*/1);
  std::thread ahead([&] { EXPECT_FALSE(sink->Admit(3)); });
  sink->Cancel(InterruptedError("stop"));
  ahead.join();
  sink->Deliver(0, UpdateOf(10, 1));
  EXPECT_EQ(FailureOf(sink->Finish().status()), Failure::kInterrupted);
}

TEST_F(UpdateSinkTest, UnfinishedRoundIsAnError) {
  const auto sink = MakeSink(2);
  sink->Deliver(0, UpdateOf(10, 1));
  EXPECT_EQ(sink->Finish().status().code(), absl::StatusCode::kInternal);
}

TEST_F(UpdateSinkTest, ThreadsInAnyOrderGiveTheSameBits) {
  constexpr int64_t kClients = 64;
  std::vector<at::Tensor> results;
  for (int repeat = 0; repeat < 4; ++repeat) {
    const auto sink = MakeSink(kClients, /*window=*/8);
    std::atomic<int64_t> next{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int64_t slot = next++; slot < kClients; slot = next++) {
          ASSERT_TRUE(sink->Admit(slot));
          sink->Deliver(slot, UpdateOf(10 + slot, 1.0f / (1.0f + static_cast<float>(slot)), slot + 1));
        }
      });
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
    const auto result = sink->Finish();
    ASSERT_TRUE(result.ok()) << result.status();
    results.push_back(result->aggregate[0]);
    EXPECT_TRUE(results.back().equal(results.front()));
  }
}

TEST(PartialMeansTest, GroupsFollowThePositionInTheCohort) {
  PartialMeans means;
  means.Begin({{"w", {2}, at::kFloat}});
  for (int64_t slot = 0; slot < kMaxPartialMeans + 2; ++slot) {
    means.Add(slot, UpdateOf(slot, static_cast<float>(slot), slot + 1));
  }
  const std::vector<TensorList> groups = means.Means();
  ASSERT_EQ(groups.size(), static_cast<size_t>(kMaxPartialMeans));
  // Slots 0 and 16 with 1 and 17 examples: (0 + 272) / 18.
  EXPECT_FLOAT_EQ(groups[0][0][0].item<float>(), 272.0f / 18);
  EXPECT_FLOAT_EQ(groups[2][0][0].item<float>(), 2.0f);
}

}  // namespace
}  // namespace fedlb
