// The samplers of the plugin `sampling`.

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "sampling/uniform.h"

namespace fedlb::sampling {
namespace {

using ::testing::ElementsAre;

std::unique_ptr<Uniform> MakeUniform(uint64_t seed = 1) {
  ComponentContext context;
  context.seed = seed;
  return std::move(*Uniform::Create({}, context));
}

std::vector<int64_t> Cohort(Uniform& sampler, int64_t round,
                            int64_t cohort_size, size_t num_clients) {
  const std::vector<int64_t> num_examples(num_clients, 1);
  const auto cohort = sampler.Sample({.round = round,
                                      .cohort_size = cohort_size,
                                      .num_examples = num_examples});
  EXPECT_TRUE(cohort.ok()) << cohort.status();
  return *cohort;
}

TEST(UniformTest, FullParticipationIsEveryClientInOrder) {
  EXPECT_THAT(Cohort(*MakeUniform(), 3, 4, 4), ElementsAre(0, 1, 2, 3));
}

TEST(UniformTest, CohortsAreDistinctClientsInAscendingOrder) {
  const auto sampler = MakeUniform();
  for (int64_t round = 0; round < 200; ++round) {
    const auto cohort = Cohort(*sampler, round, 7, 9);
    ASSERT_EQ(cohort.size(), 7);
    EXPECT_TRUE(std::is_sorted(cohort.begin(), cohort.end()));
    EXPECT_EQ(std::adjacent_find(cohort.begin(), cohort.end()), cohort.end());
    EXPECT_GE(cohort.front(), 0);
    EXPECT_LT(cohort.back(), 9);
  }
}

TEST(UniformTest, RoundAndSeedDecideAndEarlierCallsDoNot) {
  const auto sampler = MakeUniform(1);
  const auto round_5 = Cohort(*sampler, 5, 10, 1000);
  EXPECT_NE(Cohort(*sampler, 6, 10, 1000), round_5);
  EXPECT_EQ(Cohort(*sampler, 5, 10, 1000), round_5);
  EXPECT_EQ(Cohort(*MakeUniform(1), 5, 10, 1000), round_5);
  EXPECT_NE(Cohort(*MakeUniform(2), 5, 10, 1000), round_5);
}

TEST(UniformTest, EveryClientAndEveryPairIsEquallyLikely) {
  // 4,000 cohorts of 5 out of 20: a client is in 1,000 of them, with a standard
  // deviation of sqrt(4000 * 0.25 * 0.75) = 27.4, and a pair in
  // 4000 * 5 * 4 / (20 * 19) = 210.5, with one of at most 14.2. Five of each.
  const auto sampler = MakeUniform();
  std::vector<std::vector<int>> together(20, std::vector<int>(20, 0));
  for (int64_t round = 0; round < 4000; ++round) {
    const auto cohort = Cohort(*sampler, round, 5, 20);
    for (const int64_t a : cohort) {
      for (const int64_t b : cohort) {
        ++together[static_cast<size_t>(a)][static_cast<size_t>(b)];
      }
    }
  }
  for (size_t a = 0; a < 20; ++a) {
    EXPECT_NEAR(together[a][a], 1000, 137);
    for (size_t b = 0; b < a; ++b) {
      EXPECT_NEAR(together[a][b], 210.5, 71);
    }
  }
}

TEST(UniformTest, RefusesImpossibleCohorts) {
  const auto sampler = MakeUniform();
  const std::vector<int64_t> num_examples(3, 1);
  for (const int64_t size : {-1, 0, 4}) {
    EXPECT_FALSE(
        sampler->Sample({.cohort_size = size, .num_examples = num_examples})
            .ok());
  }
}

}  // namespace
}  // namespace fedlb::sampling
