#include "fedlb/client_state.h"

#include <algorithm>
#include <numeric>
#include <set>
#include <vector>

#include <ATen/ops/full.h>

#include "client_batches.h"
#include "gtest/gtest.h"

namespace fedlb {
namespace {

TEST(ClientStateStoreTest, StagedStatesCountAfterCommitOnly) {
  ClientStateStore store;
  store.Stage(3, {.epoch = 1, .cursor = 7});
  EXPECT_EQ(store.Get(3).cursor, 0);
  store.Rollback();
  store.Commit();
  EXPECT_EQ(store.Get(3).cursor, 0);
  store.Stage(3, {.epoch = 1, .cursor = 7});
  store.Commit();
  EXPECT_EQ(store.Get(3).cursor, 7);
}

TEST(ClientStateStoreTest, ADiscardedStateIsNotCommitted) {
  ClientStateStore store;
  store.Stage(3, {.cursor = 7});
  store.Commit();
  store.Stage(3, {.cursor = 8});
  store.Stage(4, {.cursor = 9});
  store.Discard(3);
  store.Discard(5);
  store.Commit();
  EXPECT_EQ(store.Get(3).cursor, 7);
  EXPECT_EQ(store.Get(4).cursor, 9);
}

TEST(ClientStateStoreTest, SnapshotIsInTheOrderOfClientsAndRestores) {
  ClientStateStore store;
  for (const int64_t client : {5, 1, 3}) {
    ClientState state;
    state.epoch = client;
    state.parts["optimizer"].tensors["momentum"] = {at::full({4}, 1.0f)};
    store.Stage(client, state);
  }
  store.Commit();
  const auto snapshot = store.Snapshot();
  ASSERT_EQ(snapshot.size(), 3u);
  EXPECT_EQ(snapshot[0].first, 1);
  EXPECT_EQ(snapshot[2].first, 5);
  ClientStateStore other;
  other.Restore(snapshot);
  EXPECT_EQ(other.Get(3).epoch, 3);
  EXPECT_EQ(other.Get(4).epoch, 0);
}

class ClientBatchesTest : public testing::Test {
 protected:
  ClientBatchesTest() : examples_(10) {
    std::iota(examples_.begin(), examples_.end(), 100);
  }

  std::vector<int64_t> examples_;
  ClientState state_;
  RandomKey key_;
};

TEST_F(ClientBatchesTest, APassTakesEveryExampleOnceAndEndsWithTheRest) {
  const ClientBatches batches(1, 2, examples_, 4);
  EXPECT_EQ(batches.batches_per_epoch(), 3);
  std::multiset<int64_t> seen;
  for (const size_t size : {4u, 4u, 2u}) {
    const auto batch = batches.Next(state_, &key_);
    EXPECT_EQ(batch.size(), size);
    EXPECT_EQ(key_.step, 0);
    seen.insert(batch.begin(), batch.end());
  }
  EXPECT_EQ(seen, std::multiset<int64_t>(examples_.begin(), examples_.end()));
  EXPECT_EQ(state_.epoch, 1);
  EXPECT_EQ(state_.cursor, 0);
  batches.Next(state_, &key_);
  EXPECT_EQ(key_.step, 1);
}

TEST_F(ClientBatchesTest, PassesAndClientsHaveOrdersOfTheirOwn) {
  const ClientBatches batches(1, 2, examples_, 10);
  const auto first = batches.Next(state_, &key_);
  const auto second = batches.Next(state_, &key_);
  EXPECT_NE(first, second);
  ClientState fresh;
  EXPECT_NE(ClientBatches(1, 3, examples_, 10).Next(fresh, &key_), first);
  fresh = ClientState();
  EXPECT_EQ(ClientBatches(1, 2, examples_, 10).Next(fresh, &key_), first);
}

TEST_F(ClientBatchesTest, BatchLargerThanTheShareTakesItWhole) {
  const ClientBatches batches(1, 2, examples_, 1000);
  EXPECT_EQ(batches.Next(state_, &key_).size(), 10u);
  EXPECT_EQ(batches.batches_per_epoch(), 1);
}

TEST_F(ClientBatchesTest, WorkBecomesSteps) {
  const ClientBatches batches(1, 2, examples_, 4);
  using Kind = RoundWork::Kind;
  EXPECT_EQ(LocalStepsOf({.kind = Kind::kGradient}, batches), 1);
  EXPECT_EQ(LocalStepsOf({.kind = Kind::kLocalSteps, .local_steps = 7},
                         batches),
            7);
  EXPECT_EQ(LocalStepsOf({.kind = Kind::kLocalSteps, .local_epochs = 2},
                         batches),
            6);
  EXPECT_EQ(LocalStepsOf({.kind = Kind::kLocalSteps, .local_epochs = 0.01},
                         batches),
            1);
}

}  // namespace
}  // namespace fedlb
