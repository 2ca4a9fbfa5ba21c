// The pairs that clients make for a teacher.

#include <cstdint>
#include <memory>

#include "core/training_testing.h"
#include "federation.h"
#include "fedlb/client_host.h"
#include "fedlb/round_task.h"
#include "fedlb/status.h"
#include "gtest/gtest.h"
#include "run_state.h"

namespace fedlb {
namespace {

constexpr double kLr = 0.2;
constexpr int64_t kSteps = 4;
constexpr int64_t kSmallBatch = 8;

class DisplacementWorkTest : public ::testing::Test {
 protected:
  DisplacementWorkTest() {
    auto federation = Federation::Create(
        Configure({"precision=fp64", "dataset.name=synthetic",
                   "dataset.shape=[6]", "dataset.classes=3",
                   "dataset.train_size=200", "dataset.test_size=20",
                   "federation.clients=2", "model.name=mlp",
                   "optimizer.name=sgd", "execution.intra_op_threads=1"}),
        BuiltPlugins(), Logger::Null());
    EXPECT_TRUE(federation.ok()) << federation.status();
    federation_ = *std::move(federation);
    EXPECT_TRUE(host().StartWorkers(1).ok());
    // In the middle of a pass.
    state_.epoch = 1;
    state_.cursor = 16;
  }

  RoundTask Task(RoundWork work) const {
    const RunState run(*federation_);
    RoundTask task;
    task.round = 3;
    task.work = work;
    task.lr = kLr;
    task.weights = run.weights;
    task.buffers = run.buffers;
    task.scalars = {{"step", 0}, {"critical", 0}, {"gradient_change", 0}};
    return task;
  }

  ClientHost& host() { return *federation_->host; }

  absl::StatusOr<Update> Run(const RoundTask& task, int64_t batch_size) {
    absl::StatusOr<Update> update = absl::InternalError("not run");
    state_after_ = state_;
    host().ForEach(1, [&](ClientWorker& worker, int64_t /*index*/) {
      update = worker.Run(task, {.client = 1, .batch_size = batch_size},
                          state_after_);
    });
    return update;
  }
  absl::StatusOr<Update> Run(const RoundWork& work, int64_t batch_size) {
    return Run(Task(work), batch_size);
  }

  std::unique_ptr<Federation> federation_;
  ClientState state_;
  ClientState state_after_;
};

TEST_F(DisplacementWorkTest, IsTheGradientAndTheDeltaOfTheSameExamples) {
  const auto pair = Run(
      RoundWork{.kind = RoundWork::Kind::kDisplacement, .local_steps = kSteps},
      kSmallBatch);
  ASSERT_TRUE(pair.ok()) << pair.status();
  EXPECT_EQ(pair->kind, Update::Kind::kGradient);
  EXPECT_EQ(pair->num_examples, kSteps * kSmallBatch);
  EXPECT_EQ(pair->num_samples, 2 * kSteps * kSmallBatch);
  EXPECT_EQ(state_after_.epoch, state_.epoch);
  EXPECT_EQ(state_after_.cursor, state_.cursor);

  // sgd without momentum and decay takes plain steps.
  auto delta = Run(
      RoundWork{.kind = RoundWork::Kind::kLocalSteps, .local_steps = kSteps},
      kSmallBatch);
  ASSERT_TRUE(delta.ok()) << delta.status();
  Scale(-1 / kLr, delta->parameters());
  EXPECT_LE(RelativeDifference(pair->groups.at(kDisplacementGroup),
                               delta->parameters()),
            1e-12);

  const auto gradient =
      Run(RoundWork{.kind = RoundWork::Kind::kGradient}, kSteps * kSmallBatch);
  ASSERT_TRUE(gradient.ok()) << gradient.status();
  EXPECT_LE(RelativeDifference(pair->parameters(), gradient->parameters()),
            1e-12);
}

TEST_F(DisplacementWorkTest, OneStepDisplacesByItsGradient) {
  const auto pair = Run(
      RoundWork{.kind = RoundWork::Kind::kDisplacement, .local_steps = 1}, 32);
  ASSERT_TRUE(pair.ok()) << pair.status();
  EXPECT_LE(RelativeDifference(pair->groups.at(kDisplacementGroup),
                               pair->parameters()),
            1e-12);
}

TEST_F(DisplacementWorkTest, AnotherOrderIsAnotherPathOverTheSameExamples) {
  const auto pair = Run(RoundWork{.kind = RoundWork::Kind::kDisplacement,
                                  .local_steps = kSteps,
                                  .reorder = true},
                        kSmallBatch);
  ASSERT_TRUE(pair.ok()) << pair.status();
  EXPECT_EQ(pair->num_samples, 3 * kSteps * kSmallBatch);
  const double difference = RelativeDifference(
      pair->groups.at(kReorderedGroup), pair->groups.at(kDisplacementGroup));
  EXPECT_GT(difference, 1e-6);
  EXPECT_LT(difference, 0.5);
  // With one batch there is one order.
  const auto single = Run(RoundWork{.kind = RoundWork::Kind::kDisplacement,
                                    .local_steps = 1,
                                    .reorder = true},
                          32);
  ASSERT_TRUE(single.ok()) << single.status();
  EXPECT_LE(RelativeDifference(single->groups.at(kReorderedGroup),
                               single->groups.at(kDisplacementGroup)),
            1e-12);
}

TEST_F(DisplacementWorkTest, NeedsALearningRate) {
  RoundTask task =
      Task({.kind = RoundWork::Kind::kDisplacement, .local_steps = kSteps});
  task.lr = 0;
  EXPECT_EQ(Run(task, 8).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(DisplacementWorkTest, SurvivesTheWire) {
  const RoundTask task = Task({.kind = RoundWork::Kind::kDisplacement,
                               .local_steps = kSteps,
                               .reorder = true});
  const auto bytes = EncodeTask(task);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  const auto decoded = DecodeTask(*bytes);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->work.kind, RoundWork::Kind::kDisplacement);
  EXPECT_EQ(decoded->work.local_steps, kSteps);
  EXPECT_TRUE(decoded->work.reorder);

  const auto pair = Run(task.work, kSmallBatch);
  ASSERT_TRUE(pair.ok()) << pair.status();
  const auto update_bytes = EncodeUpdate(*pair);
  ASSERT_TRUE(update_bytes.ok()) << update_bytes.status();
  const auto update = DecodeUpdate(*update_bytes);
  ASSERT_TRUE(update.ok()) << update.status();
  EXPECT_EQ(update->num_samples, pair->num_samples);
  EXPECT_EQ(Sha256Hex(update->groups.at(kReorderedGroup)),
            Sha256Hex(pair->groups.at(kReorderedGroup)));
}

}  // namespace
}  // namespace fedlb
