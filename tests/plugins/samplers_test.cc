// The samplers of the plugin `sampling`.

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <unistd.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "fedlb/status.h"
#include "plugins/make_component.h"
#include "sampling/all.h"
#include "sampling/availability.h"
#include "sampling/uniform.h"
#include "sampling/weighted.h"

namespace fedlb::sampling {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsSubsetOf;

std::unique_ptr<Uniform> MakeUniform(uint64_t seed = 1) {
  ComponentContext context;
  context.seed = seed;
  return std::move(*Uniform::Create({}, context));
}

std::vector<int64_t> Cohort(Sampler& sampler, int64_t round,
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

TEST(AllTest, EverybodyTakesPartInEveryRound) {
  const auto sampler = Make<All>("");
  for (const int64_t round : {0, 1, 7}) {
    EXPECT_THAT(Cohort(*sampler, round, 4, 4), ElementsAre(0, 1, 2, 3));
  }
}

TEST(AllTest, SmallerCohortsTakeTurns) {
  const auto sampler = Make<All>("");
  EXPECT_THAT(Cohort(*sampler, 0, 3, 5), ElementsAre(0, 1, 2));
  EXPECT_THAT(Cohort(*sampler, 1, 3, 5), ElementsAre(0, 3, 4));
  EXPECT_THAT(Cohort(*sampler, 2, 3, 5), ElementsAre(1, 2, 3));
  std::vector<int> turns(5, 0);
  for (int64_t round = 10; round < 15; ++round) {
    for (const int64_t client : Cohort(*sampler, round, 3, 5)) {
      ++turns[static_cast<size_t>(client)];
    }
  }
  EXPECT_THAT(turns, ElementsAre(3, 3, 3, 3, 3));
}

std::vector<int64_t> WeightedCohort(Sampler& sampler, int64_t round,
                                    int64_t cohort_size,
                                    const std::vector<int64_t>& examples) {
  const auto cohort = sampler.Sample(
      {.round = round, .cohort_size = cohort_size, .num_examples = examples});
  EXPECT_TRUE(cohort.ok()) << cohort.status();
  return *cohort;
}

// One of clients with 1, 2, 3 and 4 examples: probabilities 0.1 to 0.4. Of
// 20,000 rounds client k is in 2,000 (k + 1), with a standard deviation of at
// most sqrt(20000 * 0.24) = 69. Five of them.
TEST(WeightedTest, ASingleClientIsDrawnByItsExamples) {
  const auto sampler = Make<Weighted>("");
  std::vector<int> count(4, 0);
  for (int64_t round = 0; round < 20'000; ++round) {
    ++count[static_cast<size_t>(
        WeightedCohort(*sampler, round, 1, {1, 2, 3, 4})[0])];
  }
  for (size_t k = 0; k < 4; ++k) {
    EXPECT_NEAR(count[k], 2000 * static_cast<int>(k + 1), 346);
  }
}

// Two of clients with 1, 1 and 2 examples, one after the other: {0, 1} has the
// probability 1/4 * 1/3 + 1/4 * 1/3 = 1/6, and the other pairs 5/12 each. Drawn
// as pairs in proportion to products, it would be 1/5.
TEST(WeightedTest, PairsAreDrawnOneAfterTheOther) {
  const auto sampler = Make<Weighted>("");
  int both_small = 0;
  int first_and_large = 0;
  for (int64_t round = 0; round < 20'000; ++round) {
    const auto cohort = WeightedCohort(*sampler, round, 2, {1, 1, 2});
    EXPECT_TRUE(std::is_sorted(cohort.begin(), cohort.end()));
    both_small += cohort[1] == 1 ? 1 : 0;
    first_and_large += cohort[0] == 0 && cohort[1] == 2 ? 1 : 0;
  }
  // Standard deviations are 53 and 70.
  EXPECT_NEAR(both_small, 20'000 / 6, 265);
  EXPECT_NEAR(first_and_large, 20'000 * 5 / 12, 350);
}

TEST(WeightedTest, RoundAndSeedDecideAndEarlierCallsDoNot) {
  ComponentContext other;
  other.seed = 2;
  std::vector<int64_t> examples;
  for (int64_t k = 1; k <= 500; ++k) {
    examples.push_back(k);
  }
  const auto sampler = Make<Weighted>("");
  const auto round_5 = WeightedCohort(*sampler, 5, 10, examples);
  EXPECT_NE(WeightedCohort(*sampler, 6, 10, examples), round_5);
  EXPECT_EQ(WeightedCohort(*sampler, 5, 10, examples), round_5);
  EXPECT_EQ(WeightedCohort(*Make<Weighted>(""), 5, 10, examples), round_5);
  EXPECT_NE(WeightedCohort(*Make<Weighted>("", other), 5, 10, examples),
            round_5);
}

ComponentContext Of(int64_t num_clients) {
  ComponentContext context;
  context.num_clients = num_clients;
  return context;
}

TEST(AvailabilityTest, WithoutAnyRuleItIsUniform) {
  const auto sampler = Make<Availability>("", Of(30));
  for (int64_t round = 0; round < 20; ++round) {
    EXPECT_EQ(Cohort(*sampler, round, 7, 30),
              Cohort(*MakeUniform(), round, 7, 30));
  }
}

TEST(AvailabilityTest, LinesSayWhoIsThere) {
  const auto sampler = Make<Availability>(
      "available = ['0-1, 4: 0-9, 20-', '2: 5', '2: 7-8  # and again']", Of(6));
  const auto everybody_in = [&](int64_t round) {
    return Cohort(*sampler, round, 6, 6);
  };
  EXPECT_THAT(everybody_in(0), ElementsAre(0, 1, 4));
  EXPECT_THAT(everybody_in(5), ElementsAre(0, 1, 2, 4));
  EXPECT_THAT(everybody_in(6), ElementsAre(0, 1, 4));
  EXPECT_THAT(everybody_in(8), ElementsAre(0, 1, 2, 4));
  EXPECT_THAT(everybody_in(9), ElementsAre(0, 1, 4));
  EXPECT_THAT(everybody_in(1'000'000), ElementsAre(0, 1, 4));
}

TEST(AvailabilityTest, ARoundWithNobodyFailsAndSaysWhatToDo) {
  const auto sampler = Make<Availability>("available = ['0-3: 0-9']", Of(6));
  const std::vector<int64_t> num_examples(6, 1);
  const absl::Status status =
      sampler
          ->Sample(
              {.round = 10, .cohort_size = 2, .num_examples = num_examples})
          .status();
  EXPECT_EQ(FailureOf(status), Failure::kDeadline);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("none of the 6 clients is available in round 10"));
}

// 4,000 rounds, 2 of the 4 clients that are there: 2,000 each, with a standard
// deviation of sqrt(1000) = 32.
TEST(AvailabilityTest, ThoseWhoAreThereAreEquallyLikely) {
  const auto sampler = Make<Availability>("available = ['1, 3-5: 0-']", Of(8));
  std::vector<int> count(8, 0);
  for (int64_t round = 0; round < 4000; ++round) {
    const auto cohort = Cohort(*sampler, round, 2, 8);
    ASSERT_EQ(cohort.size(), 2);
    EXPECT_THAT(cohort, IsSubsetOf({1, 3, 4, 5}));
    for (const int64_t client : cohort) {
      ++count[static_cast<size_t>(client)];
    }
  }
  for (const size_t client : {1, 3, 4, 5}) {
    EXPECT_NEAR(count[client], 2000, 160);
  }
}

TEST(AvailabilityTest, ADayHasOneStretchThatComesBack) {
  // 6 of 24 rounds each.
  constexpr int64_t kDay = 24;
  constexpr size_t kPeople = 200;
  const auto sampler =
      Make<Availability>("period = 24\nuptime = 0.25", Of(kPeople));
  std::vector<std::vector<bool>> awake(2 * kDay,
                                       std::vector<bool>(kPeople, false));
  for (int64_t round = 0; round < 2 * kDay; ++round) {
    for (const int64_t client : Cohort(*sampler, round, kPeople, kPeople)) {
      awake[static_cast<size_t>(round)][static_cast<size_t>(client)] = true;
    }
  }
  std::set<int64_t> beginnings;
  for (size_t client = 0; client < kPeople; ++client) {
    int64_t rounds = 0;
    int64_t stretches = 0;
    for (int64_t round = 0; round < kDay; ++round) {
      const bool now = awake[static_cast<size_t>(round)][client];
      const bool before =
          awake[static_cast<size_t>((round + kDay - 1) % kDay)][client];
      EXPECT_EQ(now, awake[static_cast<size_t>(round + kDay)][client]);
      rounds += now ? 1 : 0;
      if (now && !before) {
        ++stretches;
        beginnings.insert(round);
      }
    }
    EXPECT_EQ(rounds, 6);
    EXPECT_EQ(stretches, 1);
  }
  // 200 clients and 24 hours: an hour without a beginning has the probability
  // 24 * (23/24)^200 = 0.005.
  EXPECT_GE(beginnings.size(), 23);
}

// A file that is removed in the end.
class TraceFile {
 public:
  explicit TraceFile(const std::string& text)
      : path_(testing::TempDir() + "/fedlb-availability-" +
              std::to_string(getpid()) + ".trace") {
    std::ofstream(path_) << text;
  }
  ~TraceFile() { std::remove(path_.c_str()); }
  std::string Option() const { return "trace = '" + path_ + "'"; }

 private:
  const std::string path_;
};

TEST(AvailabilityTest, AFileHasTheSameLines) {
  const TraceFile file("# two shifts\n0-2: 0-9\n\n3 - 5 : 10-19\r\n");
  const auto sampler = Make<Availability>(file.Option(), Of(6));
  EXPECT_THAT(Cohort(*sampler, 9, 6, 6), ElementsAre(0, 1, 2));
  EXPECT_THAT(Cohort(*sampler, 10, 6, 6), ElementsAre(3, 4, 5));
}

TEST(AvailabilityTest, AMistakeInAFileIsNamedWithItsLine) {
  const TraceFile file("0: 0-9\n\n7: 0-9\n");
  const absl::Status status =
      TryMake<Availability>(file.Option(), Of(6)).status();
  EXPECT_EQ(FailureOf(status), Failure::kInputFile);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr(".trace:3: there is no client 7"));
}

TEST(AvailabilityTest, AFileThatIsNotThereIsNamed) {
  const absl::Status status =
      TryMake<Availability>("trace = '/no/such.trace'", Of(6)).status();
  EXPECT_EQ(FailureOf(status), Failure::kInputFile);
  EXPECT_THAT(std::string(status.message()), HasSubstr("/no/such.trace"));
}

TEST(AvailabilityTest, LinesThatMeanNothingAreRefused) {
  for (const char* line :
       {"0", "0: ", ": 0-9", "0: 9-0", "0-: 0-9", "0: 0-9: 1", "a: 0-9", "0: x",
        "-1: 0-9", "0: -", "0: 1.5", "0,,1: 3", "6: 0-9", "0: +3",
        "0: 99999999999999999999"}) {
    const absl::Status status =
        TryMake<Availability>(std::string("available = ['") + line + "']",
                              Of(6))
            .status();
    EXPECT_EQ(FailureOf(status), Failure::kConfig) << line;
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("sampler.available, line 1"))
        << line;
  }
}

TEST(AvailabilityTest, BoundsHold) {
  EXPECT_FALSE(TryMake<Availability>("period = -1").ok());
  EXPECT_FALSE(TryMake<Availability>("uptime = 0.0").ok());
  EXPECT_FALSE(TryMake<Availability>("uptime = 1.5").ok());
}

}  // namespace
}  // namespace fedlb::sampling
