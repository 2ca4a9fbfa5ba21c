#include "fedlb/client_state_history.h"

#include <ATen/ops/full.h>

#include "core/storage_testing.h"
#include "fedlb/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedlb {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Tells states apart.
ClientState StateOf(int64_t cursor) {
  ClientState state;
  state.epoch = 1;
  state.cursor = cursor;
  state.parts["compressor"].tensors["residual"] = {
      at::full({3}, static_cast<float>(cursor)), at::full({}, 0.5)};
  state.parts["compressor"].scalars["norm"] = 1.0 / 3;
  state.parts["empty"].tensors["none"] = {};
  return state;
}

std::unique_ptr<ClientStateHistory> InMemory() {
  return *ClientStateHistory::Open("", "run", {0, 1});
}

TEST(ClientStateHistoryTest, AStateCountsOnceItsUpdateDoes) {
  const auto history = InMemory();
  EXPECT_EQ(history->Before(0, 5).cursor, 0);
  ASSERT_TRUE(history->Stage(0, 5, StateOf(50)).ok());
  // The server has not counted task 5, and asks for another.
  EXPECT_EQ(history->Before(0, 6).cursor, 0);
  ASSERT_TRUE(history->Stage(0, 6, StateOf(60)).ok());
  history->Acknowledge(0, 6, 0);
  EXPECT_EQ(history->Before(0, 7).cursor, 60);
  // Another client's is another matter.
  EXPECT_EQ(history->Before(1, 7).cursor, 0);
}

TEST(ClientStateHistoryTest, GoesBackAsFarAsTheServerMay) {
  const auto history = InMemory();
  for (const int64_t task : {1, 2, 3}) {
    history->Before(0, task);
    ASSERT_TRUE(history->Stage(0, task, StateOf(10 * task)).ok());
    history->Acknowledge(0, task, 2);
  }
  // It is back at its checkpoint, and asks for task 2 again.
  EXPECT_EQ(history->Before(0, 2).cursor, 10);
  // What was done after that is forgotten.
  EXPECT_EQ(history->Before(0, 9).cursor, 10);
}

TEST(ClientStateHistoryTest, AnAcknowledgementOfAnotherTaskChangesNothing) {
  const auto history = InMemory();
  ASSERT_TRUE(history->Stage(0, 5, StateOf(50)).ok());
  history->Acknowledge(0, 4, 0);
  EXPECT_EQ(history->Before(0, 6).cursor, 0);
}

TEST(ClientStateHistoryTest, OutlivesItsProcess) {
  const TemporaryFolder folder;
  const std::string path = folder / "states";
  {
    const auto history = ClientStateHistory::Open(path, "run", {3});
    ASSERT_TRUE(history.ok()) << history.status();
    ASSERT_TRUE((*history)->Stage(3, 1, StateOf(10)).ok());
    (*history)->Acknowledge(3, 1, 1);
    ASSERT_TRUE((*history)->Stage(3, 2, StateOf(20)).ok());
  }
  // The process died before it heard that task 2 counts; the server says so
  // again.
  auto history = ClientStateHistory::Open(path, "run", {3});
  ASSERT_TRUE(history.ok()) << history.status();
  (*history)->Acknowledge(3, 2, 2);
  const ClientState state = (*history)->Before(3, 3);
  EXPECT_EQ(state.epoch, 1);
  EXPECT_EQ(state.cursor, 20);
  const ComponentState& part = state.parts.at("compressor");
  EXPECT_TRUE(part.tensors.at("residual")[0].equal(at::full({3}, 20.0f)));
  EXPECT_EQ(part.scalars.at("norm"), 1.0 / 3);
  EXPECT_THAT(state.parts.at("empty").tensors.at("none"), IsEmpty());
  EXPECT_THAT(NamesIn(path), ElementsAre("client-000003.safetensors"));
}

TEST(ClientStateHistoryTest, RefusesAnotherRunAndDamage) {
  const TemporaryFolder folder;
  {
    const auto history = ClientStateHistory::Open(folder.path(), "run", {0});
    ASSERT_TRUE((*history)->Stage(0, 1, StateOf(10)).ok());
  }
  const auto other = ClientStateHistory::Open(folder.path(), "other", {0});
  EXPECT_EQ(FailureOf(other.status()), Failure::kInputFile);
  EXPECT_THAT(other.status().message(), HasSubstr("in another run"));
  EXPECT_THAT(other.status().message(), HasSubstr("another state folder"));
  // Only the files of one's own clients are looked at.
  EXPECT_TRUE(ClientStateHistory::Open(folder.path(), "other", {1}).ok());

  const std::string path = folder / "client-000000.safetensors";
  std::string bytes = Contents(path);
  bytes[bytes.size() - 3] ^= 4;
  Write(path, bytes);
  const auto damaged = ClientStateHistory::Open(folder.path(), "run", {0});
  EXPECT_EQ(FailureOf(damaged.status()), Failure::kInputFile);
  EXPECT_THAT(damaged.status().message(), HasSubstr(path));
}

TEST(ClientStateHistoryTest, SaysWhereNothingCanBeKept) {
  const auto history = ClientStateHistory::Open("/nowhere/states", "run", {0});
  EXPECT_EQ(FailureOf(history.status()), Failure::kStorage);
  EXPECT_THAT(history.status().message(), HasSubstr("/nowhere/states"));
}

}  // namespace
}  // namespace fedlb
