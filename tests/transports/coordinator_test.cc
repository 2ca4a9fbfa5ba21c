// The server's half of a federation, called as connections and the round loop
// call it.

#include "thrift/coordinator.h"

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <ATen/ops/full.h>

#include "absl/strings/str_cat.h"
#include "conformance/sink_testing.h"
#include "core/storage_testing.h"
#include "fedlb/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "plugins/recording_logger.h"
#include "thrift/checksum.h"
#include "thrift/refusal.h"

namespace fedlb::thrift {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

int64_t IdentityOf(const std::string& bytes) {
  return ChecksumOf(ChecksumKind::kXxh3, bytes);
}

RoundTask TaskOf(int64_t round) {
  RoundTask task;
  task.round = round;
  task.work = {.kind = RoundWork::Kind::kLocalSteps, .local_steps = 1};
  task.weights = {at::full({2}, 1.0f)};
  return task;
}

std::string BytesOf(int64_t round, int64_t client, float value) {
  Update update;
  update.kind = Update::Kind::kDelta;
  update.round = round;
  update.client = client;
  update.num_examples = 1;
  update.local_steps = 1;
  update.num_samples = 1;
  update.groups[kParametersGroup] = {at::full({2}, value)};
  return *EncodeUpdate(update);
}

class CoordinatorTest : public testing::Test {
 protected:
  void Make() {
    terms_.run_id = "run";
    terms_.num_clients = 8;
    terms_.num_rounds = 100;
    terms_.spill_folder = folder_.path();
    options_.max_update_bytes = 1 << 20;
    coordinator_ = std::make_unique<Coordinator>(terms_, options_, logger_);
  }

  // A round of `cohort` on a thread of its own.
  std::future<absl::StatusOr<RoundResult>> Begin(int64_t round,
                                                 std::vector<int64_t> cohort,
                                                 int64_t window = 100) {
    return std::async(std::launch::async,
                      [this, round, cohort = std::move(cohort),
                       window]() -> absl::StatusOr<RoundResult> {
                        const RoundTask task = TaskOf(round);
                        std::vector<ClientAssignment> assignments;
                        for (const int64_t client : cohort) {
                          assignments.push_back({client, 10 + client});
                        }
                        UpdateSink sink(task, cohort, {{"w", {2}, at::kFloat}},
                                        {}, gate_, window, compressor_,
                                        aggregator_, {});
                        FEDLB_RETURN_IF_ERROR(
                            coordinator_->RunRound(task, assignments, sink));
                        coordinator_->DeliverLate(round, sink);
                        return sink.Finish();
                      });
  }

  SessionPtr Join(const std::string& process, std::vector<int64_t> clients) {
    auto session = coordinator_->Join(process, clients, "peer of " + process);
    EXPECT_TRUE(session.ok()) << session.status();
    return *session;
  }

  // Waits until there is a task for the session.
  PollAnswer Await(const SessionPtr& session) {
    for (int i = 0; i < 200; ++i) {
      auto answer = coordinator_->Poll(session, milliseconds(50));
      EXPECT_TRUE(answer.ok()) << answer.status();
      if (!answer.ok() || answer->task != nullptr) {
        return *std::move(answer);
      }
    }
    ADD_FAILURE() << "no task came";
    return {};
  }

  absl::Status Send(const SessionPtr& session, int64_t client, int64_t task,
                    const std::string& bytes) {
    FEDLB_RETURN_IF_ERROR(Upload(session, client, task, bytes));
    return coordinator_->Commit(session, client, task);
  }

  absl::Status Upload(const SessionPtr& session, int64_t client, int64_t task,
                      const std::string& bytes) {
    const auto size = static_cast<int64_t>(bytes.size());
    FEDLB_ASSIGN_OR_RETURN(const int64_t offset,
                           coordinator_->BeginUpload(session, client, task,
                                                     size, IdentityOf(bytes)));
    return offset == size
               ? absl::OkStatus()
               : coordinator_->PutChunk(session, client, task, 0, bytes)
                     .status();
  }

  const TemporaryFolder folder_;
  RecordingLogger logger_;
  UpdateGateOptions gate_;
  NoCompression compressor_;
  RecordingMean aggregator_;
  FederationTerms terms_;
  CoordinatorOptions options_;
  std::unique_ptr<Coordinator> coordinator_;
};

TEST_F(CoordinatorTest, ARoundOfTwoProcesses) {
  Make();
  const SessionPtr a = Join("a", {0, 2});
  const SessionPtr b = Join("b", {1});
  auto round = Begin(0, {2, 1, 0});
  const PollAnswer for_a = Await(a);
  ASSERT_EQ(for_a.assignments.size(), 2u);
  EXPECT_EQ(for_a.assignments[0].client, 0);
  EXPECT_EQ(for_a.assignments[0].batch_size, 10);
  EXPECT_EQ(for_a.assignments[1].client, 2);
  EXPECT_EQ(*EncodeTask(TaskOf(0)), for_a.task->bytes);
  const int64_t task = for_a.task->id;
  EXPECT_TRUE(Send(a, 0, task, BytesOf(0, 0, 3)).ok());
  EXPECT_TRUE(Send(a, 2, task, BytesOf(0, 2, 6)).ok());
  Await(b);
  EXPECT_TRUE(Send(b, 1, task, BytesOf(0, 1, 0)).ok());
  const auto result = round.get();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->aggregate[0][0].item<float>(), 3);
  EXPECT_THAT(aggregator_.order, ElementsAre(2, 1, 0));
}

TEST_F(CoordinatorTest, OneUpdateCountsHoweverOftenItIsSent) {
  Make();
  const SessionPtr a = Join("a", {0, 1});
  auto round = Begin(0, {0, 1});
  const int64_t task = Await(a).task->id;
  const std::string bytes = BytesOf(0, 0, 4);
  EXPECT_TRUE(Send(a, 0, task, bytes).ok());
  EXPECT_TRUE(Send(a, 0, task, bytes).ok());
  EXPECT_TRUE(coordinator_->Commit(a, 0, task).ok());
  // Another update of the same client does not take its place.
  EXPECT_TRUE(Send(a, 0, task, BytesOf(0, 0, 100)).ok());
  EXPECT_TRUE(Send(a, 1, task, BytesOf(0, 1, 2)).ok());
  const auto result = round.get();
  EXPECT_EQ(result->num_survivors, 2);
  EXPECT_EQ(result->aggregate[0][0].item<float>(), 3);
  EXPECT_EQ(CodeOf(Send(a, 0, task, bytes)), Refused::kTaskClosed);
}

TEST_F(CoordinatorTest, RefusesWhatWasNotAskedFor) {
  Make();
  const SessionPtr a = Join("a", {0});
  const SessionPtr b = Join("b", {1});
  auto round = Begin(3, {0});
  const int64_t task = Await(a).task->id;
  const std::string bytes = BytesOf(3, 0, 4);
  EXPECT_EQ(CodeOf(Send(b, 0, task, bytes)), Refused::kForbidden);
  EXPECT_EQ(CodeOf(Send(b, 1, task, bytes)), Refused::kTaskClosed);
  EXPECT_EQ(CodeOf(Send(a, 0, task + 1024, bytes)), Refused::kTaskClosed);
  EXPECT_EQ(CodeOf(Send(a, 0, task - 1024, bytes)), Refused::kTaskClosed);
  EXPECT_EQ(CodeOf(coordinator_->Commit(a, 0, task)), Refused::kOutOfOrder);
  EXPECT_EQ(CodeOf(coordinator_->PutChunk(a, 0, task, 0, "x").status()),
            Refused::kOutOfOrder);
  EXPECT_EQ(CodeOf(coordinator_->BeginUpload(a, 0, task, 1 << 21, 0).status()),
            Refused::kTooLarge);
  EXPECT_EQ(CodeOf(coordinator_->BeginUpload(a, 0, task, 0, 0).status()),
            Refused::kTooLarge);
  EXPECT_EQ(CodeOf(coordinator_->Join("c", {8}, "p").status()),
            Refused::kUnknownClient);
  EXPECT_TRUE(Send(a, 0, task, bytes).ok());
  EXPECT_EQ(round.get()->num_survivors, 1);
}

TEST_F(CoordinatorTest, AnUpdateForAnotherRoundOrClientIsDropped) {
  Make();
  const SessionPtr a = Join("a", {0, 1, 2});
  auto round = Begin(5, {0, 1, 2});
  const int64_t task = Await(a).task->id;
  EXPECT_TRUE(Send(a, 0, task, BytesOf(4, 0, 1)).ok());
  EXPECT_TRUE(Send(a, 1, task, BytesOf(5, 0, 1)).ok());
  EXPECT_EQ(CodeOf(Send(a, 2, task, "no safetensors file")),
            Refused::kMalformed);
  const auto result = round.get();
  ASSERT_EQ(result->dropped.size(), 3u);
  EXPECT_THAT(result->dropped[0].second.message(),
              HasSubstr("update for round 4"));
  EXPECT_THAT(result->dropped[1].second.message(),
              HasSubstr("update of client 0"));
}

TEST_F(CoordinatorTest, UpdatesAheadOfTheirTurnWaitOnDisk) {
  options_.uploads = 1;
  Make();
  const SessionPtr a = Join("a", {0, 1, 2, 3});
  auto round = Begin(0, {0, 1, 2, 3}, /*window=*/1);
  const int64_t task = Await(a).task->id;
  // None of them blocks, although the first client is the last to answer, and
  // only one upload may be in memory.
  for (const int64_t client : {3, 2, 1, 0}) {
    EXPECT_TRUE(
        Send(a, client, task, BytesOf(0, client, static_cast<float>(client)))
            .ok());
  }
  const auto result = round.get();
  EXPECT_EQ(result->num_survivors, 4);
  EXPECT_EQ(result->aggregate[0][0].item<float>(), 1.5f);
  EXPECT_THAT(aggregator_.order, ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(NamesIn(folder_.path()), IsEmpty());
}

TEST_F(CoordinatorTest, NoRoomToWaitIsSaidAndNothingIsLost) {
  Make();
  terms_.spill_folder = "/nowhere";
  coordinator_ = std::make_unique<Coordinator>(terms_, options_, logger_);
  const SessionPtr a = Join("a", {0, 1});
  auto round = Begin(0, {0, 1}, /*window=*/1);
  const int64_t task = Await(a).task->id;
  EXPECT_EQ(CodeOf(Send(a, 1, task, BytesOf(0, 1, 5))), Refused::kBusy);
  EXPECT_TRUE(Send(a, 0, task, BytesOf(0, 0, 1)).ok());
  // The bytes are still there.
  EXPECT_TRUE(coordinator_->Commit(a, 1, task).ok());
  EXPECT_EQ(round.get()->aggregate[0][0].item<float>(), 3);
}

TEST_F(CoordinatorTest, TheDeadlineEndsARound) {
  terms_.deadline_seconds = {0.3};
  Make();
  const SessionPtr a = Join("a", {0, 1});
  const auto start = Clock::now();
  auto round = Begin(0, {0, 1});
  const PollAnswer answer = Await(a);
  EXPECT_LE(*answer.time_left, milliseconds(300));
  EXPECT_TRUE(Send(a, 1, answer.task->id, BytesOf(0, 1, 7)).ok());
  const auto result = round.get();
  EXPECT_GE(Clock::now() - start, milliseconds(300));
  EXPECT_EQ(result->num_survivors, 1);
  ASSERT_EQ(result->dropped.size(), 1u);
  EXPECT_EQ(FailureOf(result->dropped[0].second), Failure::kDeadline);
  EXPECT_EQ(CodeOf(Send(a, 0, answer.task->id, BytesOf(0, 0, 7))),
            Refused::kTaskClosed);
}

TEST_F(CoordinatorTest, TheDeadlineIsForClientsThatAreThere) {
  terms_.deadline_seconds = {0.2};
  Make();
  auto round = Begin(0, {0});
  std::this_thread::sleep_for(milliseconds(400));
  const SessionPtr a = Join("a", {0});
  const PollAnswer answer = Await(a);
  EXPECT_TRUE(Send(a, 0, answer.task->id, BytesOf(0, 0, 7)).ok());
  EXPECT_EQ(round.get()->num_survivors, 1);
}

TEST_F(CoordinatorTest, WithoutADeadlineLostClientsAreLeftOut) {
  options_.join_seconds = 0.2;
  options_.heartbeat_seconds = 0.1;
  Make();
  const SessionPtr a = Join("a", {0});
  const SessionPtr b = Join("b", {1});
  auto round = Begin(0, {0, 1, 2});
  const int64_t task = Await(a).task->id;
  EXPECT_TRUE(Send(a, 0, task, BytesOf(0, 0, 7)).ok());
  // b says nothing, and nobody hosts client 2.
  const auto result = round.get();
  EXPECT_EQ(result->num_survivors, 1);
  ASSERT_EQ(result->dropped.size(), 2u);
  EXPECT_EQ(FailureOf(result->dropped[0].second), Failure::kPeerLost);
  EXPECT_THAT(result->dropped[0].second.message(),
              HasSubstr("nothing heard from peer of b"));
  EXPECT_THAT(result->dropped[1].second.message(),
              HasSubstr("has not joined within 0.2 s"));
}

TEST_F(CoordinatorTest, SignsOfLifeKeepARoundOpen) {
  options_.heartbeat_seconds = 0.1;
  Make();
  const SessionPtr a = Join("a", {0});
  auto round = Begin(0, {0});
  const int64_t task = Await(a).task->id;
  for (int i = 0; i < 10; ++i) {  // three times what loses a client
    std::this_thread::sleep_for(milliseconds(100));
    EXPECT_TRUE(coordinator_->Touch(a).ok());
  }
  EXPECT_TRUE(Send(a, 0, task, BytesOf(0, 0, 7)).ok());
  EXPECT_EQ(round.get()->num_survivors, 1);
}

TEST_F(CoordinatorTest, AProcessThatLeavesIsNotWaitedFor) {
  Make();
  const SessionPtr a = Join("a", {0});
  auto round = Begin(0, {0});
  Await(a);
  coordinator_->Leave(a);
  const auto result = round.get();
  ASSERT_EQ(result->dropped.size(), 1u);
  EXPECT_THAT(result->dropped[0].second.message(), HasSubstr("left"));
}

TEST_F(CoordinatorTest, AClientThatCannotIsLeftOut) {
  Make();
  const SessionPtr a = Join("a", {0});
  auto round = Begin(0, {0});
  const int64_t task = Await(a).task->id;
  EXPECT_TRUE(coordinator_->Fail(a, 0, task, DivergedError("nan")).ok());
  const auto result = round.get();
  EXPECT_EQ(FailureOf(result->dropped[0].second), Failure::kDiverged);
}

TEST_F(CoordinatorTest, ANewProcessTakesAClientOver) {
  Make();
  const SessionPtr old = Join("old", {0});
  auto round = Begin(0, {0});
  const int64_t task = Await(old).task->id;
  const std::string bytes = BytesOf(0, 0, 2);
  EXPECT_TRUE(Upload(old, 0, task, bytes).ok());
  const SessionPtr fresh = Join("fresh", {0});
  EXPECT_EQ(CodeOf(coordinator_->Commit(old, 0, task)), Refused::kSuperseded);
  EXPECT_EQ(CodeOf(coordinator_->Poll(old, milliseconds(1)).status()),
            Refused::kSuperseded);
  // It is given the task again, and goes on where the other one was.
  EXPECT_EQ(Await(fresh).task->id, task);
  EXPECT_EQ(*coordinator_->BeginUpload(fresh, 0, task,
                                       static_cast<int64_t>(bytes.size()),
                                       IdentityOf(bytes)),
            static_cast<int64_t>(bytes.size()));
  EXPECT_TRUE(coordinator_->Commit(fresh, 0, task).ok());
  EXPECT_EQ(round.get()->num_survivors, 1);
  EXPECT_THAT(logger_.warnings, ElementsAre(HasSubstr("client 0 has joined")));
}

TEST_F(CoordinatorTest, AcknowledgesWhatCounts) {
  Make();
  const SessionPtr a = Join("a", {0, 1});
  auto round = Begin(0, {0});
  const int64_t task = Await(a).task->id;
  EXPECT_TRUE(Send(a, 0, task, BytesOf(0, 0, 7)).ok());
  EXPECT_TRUE(round.get().ok());
  EXPECT_THAT(coordinator_->Poll(a, milliseconds(1))->acknowledgements,
              IsEmpty());
  coordinator_->RoundApplied(0, {0});
  coordinator_->CheckpointWritten(1);
  const auto answer = coordinator_->Poll(a, milliseconds(1));
  EXPECT_THAT(answer->acknowledgements, ElementsAre(Pair(0, task)));
  EXPECT_GT(answer->first_undurable_task, task);
  // Tasks have numbers that a restarted server gives out again.
  auto next = Begin(1, {0});
  const int64_t next_task = Await(a).task->id;
  EXPECT_EQ(next_task, answer->first_undurable_task);
  EXPECT_TRUE(Send(a, 0, next_task, BytesOf(1, 0, 7)).ok());
  EXPECT_TRUE(next.get().ok());
}

TEST_F(CoordinatorTest, ALateUpdateCountsLessWithinTheBound) {
  terms_.deadline_seconds = {0.2};
  terms_.staleness_bound = 1;
  Make();
  const SessionPtr a = Join("a", {0});
  const SessionPtr b = Join("b", {1});
  auto first = Begin(0, {0, 1});
  const int64_t task = Await(a).task->id;
  EXPECT_TRUE(Send(a, 0, task, BytesOf(0, 0, 0)).ok());
  EXPECT_EQ(first.get()->num_survivors, 1);
  coordinator_->RoundApplied(0, {0});

  auto second = Begin(1, {0});
  const int64_t next = Await(a).task->id;
  EXPECT_TRUE(Send(b, 1, task, BytesOf(0, 1, 10)).ok());
  EXPECT_TRUE(Send(a, 0, next, BytesOf(1, 0, 0)).ok());
  const auto result = second.get();
  EXPECT_EQ(result->num_survivors, 2);
  EXPECT_EQ(result->num_late, 1);
  // 1 example over the root of 2, of which at least one stays.
  EXPECT_EQ(result->aggregate[0][0].item<float>(), 5);
  coordinator_->RoundApplied(1, {0, 1});
  EXPECT_THAT(coordinator_->Poll(b, milliseconds(1))->acknowledgements,
              ElementsAre(Pair(1, task)));
}

TEST_F(CoordinatorTest, ALateUpdateBeyondTheBoundIsRefused) {
  terms_.deadline_seconds = {0.1};
  terms_.staleness_bound = 1;
  options_.join_seconds = 0;
  Make();
  const SessionPtr a = Join("a", {0});
  auto first = Begin(0, {0});
  const int64_t task = Await(a).task->id;
  EXPECT_EQ(first.get()->num_survivors, 0);
  for (const int64_t round : {1, 2}) {
    EXPECT_TRUE(Begin(round, {5}).get().ok());
  }
  EXPECT_EQ(CodeOf(Send(a, 0, task, BytesOf(0, 0, 1))), Refused::kTaskClosed);
}

TEST_F(CoordinatorTest, StoppingEndsARoundAtOnce) {
  std::atomic<int> stop = 0;
  terms_.stop = &stop;
  Make();
  auto round = Begin(0, {0, 1});
  std::this_thread::sleep_for(milliseconds(50));
  stop = 1;
  EXPECT_EQ(FailureOf(round.get().status()), Failure::kInterrupted);
}

TEST_F(CoordinatorTest, TheEndIsToldToWhoeverPolls) {
  Make();
  const SessionPtr a = Join("a", {0});
  auto heard = std::async(std::launch::async, [&] {
    return coordinator_->Poll(a, std::chrono::seconds(5));
  });
  std::this_thread::sleep_for(milliseconds(50));
  auto finished = std::async(std::launch::async, [&] {
    coordinator_->Finish("the loss is not finite", std::chrono::seconds(60));
  });
  const auto answer = heard.get();
  EXPECT_TRUE(answer->finished);
  EXPECT_EQ(answer->reason, "the loss is not finite");
  // The answer may still be on its way.
  EXPECT_EQ(finished.wait_for(milliseconds(100)), std::future_status::timeout);
  coordinator_->Leave(a);
  finished.get();
}

TEST_F(CoordinatorTest, WhoDoesNotLeaveIsNotWaitedForLong) {
  Make();
  const SessionPtr a = Join("a", {0});
  auto heard = std::async(std::launch::async, [&] {
    return coordinator_->Poll(a, std::chrono::seconds(5));
  });
  const auto begin = std::chrono::steady_clock::now();
  coordinator_->Finish("", std::chrono::hours(1));
  EXPECT_TRUE(heard.get()->finished);
  EXPECT_GT(std::chrono::steady_clock::now() - begin, milliseconds(100));
}

// Many processes at once send, repeat, reorder and fail; the sum is right.
TEST_F(CoordinatorTest, ManyProcessesAtOnce) {
  terms_.num_clients = 64;
  options_.uploads = 4;
  Make();
  terms_.num_clients = 64;
  coordinator_ = std::make_unique<Coordinator>(terms_, options_, logger_);
  constexpr int kProcesses = 16;
  constexpr int kRounds = 10;
  std::atomic<bool> done = false;
  std::vector<std::thread> processes;
  for (int p = 0; p < kProcesses; ++p) {
    processes.emplace_back([&, p] {
      std::vector<int64_t> clients;
      for (int64_t c = p; c < 64; c += kProcesses) {
        clients.push_back(c);
      }
      const SessionPtr session =
          *coordinator_->Join(absl::StrCat("p", p), clients, "peer");
      while (!done) {
        const auto answer = coordinator_->Poll(session, milliseconds(20));
        if (!answer.ok() || answer->task == nullptr) {
          continue;
        }
        for (const ClientAssignment& assigned : answer->assignments) {
          const std::string bytes =
              BytesOf(answer->task->round, assigned.client,
                      static_cast<float>(assigned.client));
          for (int attempt = 0; attempt < 2; ++attempt) {
            absl::Status sent;
            do {
              sent = Send(session, assigned.client, answer->task->id, bytes);
            } while (CodeOf(sent) == Refused::kBusy);
          }
        }
      }
    });
  }
  std::vector<int64_t> cohort;
  double sum = 0;
  for (int64_t client = 0; client < 64; ++client) {
    cohort.push_back(63 - client);
    sum += static_cast<double>(client);
  }
  for (int64_t round = 0; round < kRounds; ++round) {
    const auto result = Begin(round, cohort, /*window=*/8).get();
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->num_survivors, 64);
    EXPECT_FLOAT_EQ(result->aggregate[0][0].item<float>(),
                    static_cast<float>(sum / 64));
    coordinator_->RoundApplied(round, cohort);
  }
  done = true;
  for (std::thread& process : processes) {
    process.join();
  }
}

}  // namespace
}  // namespace fedlb::thrift
