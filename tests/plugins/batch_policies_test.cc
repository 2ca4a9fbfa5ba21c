// The batch policies of the plugin `batch`.

#include <cmath>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "batch/constant.h"
#include "batch/curvature.h"
#include "batch/noise_scale.h"
#include "batch/per_client.h"
#include "batch/proportional.h"
#include "fedlb/config_table.h"
#include "fedlb/status.h"

namespace fedlb::batch {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

ComponentContext ContextOf(int64_t num_clients) {
  ComponentContext context;
  context.num_clients = num_clients;
  return context;
}

TEST(ConstantTest, IsTheSameForAll) {
  const auto policy = Constant::Create({.batch_size = 48}, ContextOf(3));
  ASSERT_TRUE(policy.ok()) << policy.status();
  EXPECT_EQ(*(*policy)->BatchSize(0, 0), 48);
  EXPECT_EQ(*(*policy)->BatchSize(9, 2), 48);
}

TEST(PerClientTest, EachClientHasItsEntry) {
  const auto policy =
      PerClient::Create({.batch_sizes = {8, 16, 32}}, ContextOf(3));
  ASSERT_TRUE(policy.ok()) << policy.status();
  EXPECT_EQ(*(*policy)->BatchSize(0, 0), 8);
  EXPECT_EQ(*(*policy)->BatchSize(1, 1), 16);
  EXPECT_EQ(*(*policy)->BatchSize(2, 2), 32);
}

TEST(PerClientTest, AShorterListIsRepeated) {
  const auto policy = PerClient::Create({.batch_sizes = {8, 16}}, ContextOf(6));
  ASSERT_TRUE(policy.ok()) << policy.status();
  EXPECT_EQ(*(*policy)->BatchSize(0, 4), 8);
  EXPECT_EQ(*(*policy)->BatchSize(0, 5), 16);
}

TEST(PerClientTest, RefusesAListThatDoesNotFitTheClients) {
  for (const int64_t num_clients : {2, 4}) {
    const auto policy =
        PerClient::Create({.batch_sizes = {8, 16, 32}}, ContextOf(num_clients));
    EXPECT_EQ(FailureOf(policy.status()), Failure::kConfig);
    EXPECT_THAT(std::string(policy.status().message()),
                AllOf(HasSubstr("3 entries"), HasSubstr("federation.clients")));
  }
}

TEST(PerClientTest, RefusesAnEmptyListAndEmptyBatches) {
  for (const ConfigValue::Array& sizes :
       {ConfigValue::Array{},
        ConfigValue::Array{ConfigValue(int64_t{8}), ConfigValue(int64_t{0})}}) {
    ConfigTable table;
    table.Set("batch_sizes", ConfigValue(sizes));
    EXPECT_EQ(FailureOf(PerClient::Schema().Parse(table).status()),
              Failure::kConfig);
  }
}

int64_t SizeOf(BatchPolicy& policy, int64_t client = 0) {
  return policy.BatchSize(0, client).value_or(0);
}

TEST(NoiseScaleTest, FollowsTheNoiseScaleByFactorsOfTwo) {
  const auto policy = *NoiseScale::Create(
      {.batch_size = 64, .min_batch_size = 20, .max_batch_size = 200,
       .ratio = 2, .every = 2, .dead_band = 0.2},
      ContextOf(4));
  const auto observe = [&policy](int64_t round, double scale) {
    ASSERT_TRUE(
        policy->ObserveRound(round, {{"noise_scale", scale}, {"survivors", 4}})
            .ok());
  };
  EXPECT_EQ(SizeOf(*policy), 64);
  observe(0, 10000);  // not yet
  EXPECT_EQ(SizeOf(*policy), 64);
  observe(1, 180);  // 2 * 180 / 4 = 90
  EXPECT_EQ(SizeOf(*policy), 90);
  observe(3, 200);  // 100 is within 20 %
  EXPECT_EQ(SizeOf(*policy), 90);
  observe(5, 10000);
  EXPECT_EQ(SizeOf(*policy), 180);
  observe(7, 10000);
  EXPECT_EQ(SizeOf(*policy), 200);
  for (const int64_t round : {9, 11, 13, 15, 17}) {
    observe(round, 1);
  }
  EXPECT_EQ(SizeOf(*policy), 20);
  observe(19, std::nan(""));
  ASSERT_TRUE(policy->ObserveRound(21, {}).ok());
  EXPECT_EQ(SizeOf(*policy), 20);
}

TEST(NoiseScaleTest, GoesOnFromItsState) {
  const NoiseScaleOptions options = {.every = 1};
  const auto policy = *NoiseScale::Create(options, ContextOf(1));
  ASSERT_TRUE(
      policy->ObserveRound(0, {{"noise_scale", 100}, {"survivors", 1}}).ok());
  const auto copy = *NoiseScale::Create(options, ContextOf(1));
  ASSERT_TRUE(copy->LoadState(policy->SaveState()).ok());
  EXPECT_EQ(SizeOf(*copy), 100);
  EXPECT_FALSE(copy->LoadState({}).ok());
  EXPECT_FALSE(copy->LoadState({.scalars = {{"batch_size", 5000}}}).ok());
}

TEST(CurvatureTest, DoublesAsTheLossFlattens) {
  const auto policy = *Curvature::Create(
      {.batch_size = 32, .max_batch_size = 200, .every = 5, .patience = 3},
      ContextOf(4));
  const auto look = [&policy](double eigenvalue) {
    ASSERT_TRUE(policy->ObserveRound(0, {{"curvature", eigenvalue}}).ok());
  };
  EXPECT_TRUE(policy->WantsCurvature(0));
  EXPECT_FALSE(policy->WantsCurvature(4));
  look(10);  // the first is the reference
  look(5.1);
  EXPECT_EQ(SizeOf(*policy), 32);
  look(5);
  EXPECT_EQ(SizeOf(*policy), 64);
  look(4);
  look(std::nan(""));  // no look
  look(4);
  EXPECT_EQ(SizeOf(*policy), 64);
  look(4);  // the third without a change
  EXPECT_EQ(SizeOf(*policy), 128);
  const auto copy = *Curvature::Create(
      {.batch_size = 32, .max_batch_size = 200, .every = 5, .patience = 3},
      ContextOf(4));
  ASSERT_TRUE(copy->LoadState(policy->SaveState()).ok());
  ASSERT_TRUE(copy->ObserveRound(0, {{"curvature", 2}}).ok());
  EXPECT_EQ(SizeOf(*copy), 200);
  EXPECT_FALSE(copy->WantsCurvature(0));  // there is nothing left to decide
  EXPECT_FALSE(copy->LoadState({}).ok());
}

// Seconds of a round with `samples` on a device that does `speed` a second.
void Observe(BatchPolicy& policy, const std::vector<double>& speeds) {
  for (size_t k = 0; k < speeds.size(); ++k) {
    const auto client = static_cast<int64_t>(k);
    const int64_t samples = SizeOf(policy, client);
    policy.ObserveClient(
        {client, samples, static_cast<double>(samples) / speeds[k]});
  }
  ASSERT_TRUE(policy.ObserveRound(0, {}).ok());
}

// Speeds 4 : 2 : 1 with 70 examples on average: 120, 60, 30 of 210.
TEST(ProportionalTest, ClientsComeToFinishTogether) {
  const auto policy = *Proportional::Create({.batch_size = 70}, ContextOf(3));
  Observe(*policy, {400, 200, 100});
  EXPECT_EQ(SizeOf(*policy, 0), 120);
  EXPECT_EQ(SizeOf(*policy, 1), 60);
  EXPECT_EQ(SizeOf(*policy, 2), 30);
  // Within the dead band nothing changes, beyond it everything does.
  Observe(*policy, {404, 200, 98});
  EXPECT_EQ(SizeOf(*policy, 0), 120);
  for (int i = 0; i < 10; ++i) {
    Observe(*policy, {100, 200, 400});
  }
  EXPECT_EQ(SizeOf(*policy, 0), 30);
  EXPECT_EQ(SizeOf(*policy, 2), 120);
}

TEST(ProportionalTest, BoundsHoldAndTheAbsentKeepTheirs) {
  const auto policy = *Proportional::Create(
      {.batch_size = 64, .min_batch_size = 40, .max_batch_size = 80},
      ContextOf(3));
  policy->ObserveClient({0, 64, 1.0});
  policy->ObserveClient({1, 64, 100.0});
  ASSERT_TRUE(policy->ObserveRound(0, {}).ok());
  EXPECT_EQ(SizeOf(*policy, 0), 80);
  EXPECT_EQ(SizeOf(*policy, 1), 40);
  const int64_t absent = SizeOf(*policy, 2);
  EXPECT_GE(absent, 40);
  EXPECT_LE(absent, 64);
  const auto copy = *Proportional::Create(
      {.batch_size = 64, .min_batch_size = 40, .max_batch_size = 80},
      ContextOf(3));
  ASSERT_TRUE(copy->LoadState(policy->SaveState()).ok());
  for (int64_t client = 0; client < 3; ++client) {
    EXPECT_EQ(SizeOf(*copy, client), SizeOf(*policy, client));
  }
  EXPECT_FALSE(copy->LoadState({}).ok());
}

}  // namespace
}  // namespace fedlb::batch
