#include "virtual_clock.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fedlb/status.h"

namespace fedlb {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

SimulatedClient ClientWith(int64_t client, int64_t samples) {
  return {.assignment = {.client = client, .batch_size = 10},
          .samples = samples};
}

// Clients 0 to count - 1, each with `samples`.
std::vector<SimulatedClient> CohortOf(int64_t count, int64_t samples) {
  std::vector<SimulatedClient> cohort;
  for (int64_t client = 0; client < count; ++client) {
    cohort.push_back(ClientWith(client, samples));
  }
  return cohort;
}

std::vector<int64_t> Answering(const SimulatedRound& round) {
  std::vector<int64_t> clients;
  for (const ClientAssignment& assignment : round.answering) {
    clients.push_back(assignment.client);
  }
  return clients;
}

std::vector<int64_t> Absent(const SimulatedRound& round) {
  std::vector<int64_t> clients;
  for (const auto& [client, cause] : round.absent) {
    EXPECT_EQ(FailureOf(cause), Failure::kDeadline);
    clients.push_back(client);
  }
  return clients;
}

TEST(VirtualClockTest, WithoutAClockEverybodyAnswersAtOnce) {
  const SimulatedRound round = VirtualClock().Play(3, CohortOf(4, 100), 9, 9);
  EXPECT_THAT(Answering(round), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(round.absent, IsEmpty());
  EXPECT_EQ(round.seconds, 0);
}

// 2 * 0.25 of latency, 100 / 50 of training, (300 + 200) / 1000 on the wire.
TEST(VirtualClockTest, SecondsAreLatencyTrainingAndBytes) {
  const VirtualClock clock({.samples_per_second = {50},
                            .bytes_per_second = 1000,
                            .latency_seconds = 0.25},
                           0, 1);
  EXPECT_DOUBLE_EQ(clock.SecondsOf(0, ClientWith(7, 100), 300, 200), 3);
}

TEST(VirtualClockTest, BytesTakeNoTimeWithoutABandwidth) {
  const VirtualClock clock({.samples_per_second = {50}}, 0, 1);
  EXPECT_DOUBLE_EQ(clock.SecondsOf(0, ClientWith(7, 100), 300, 200), 2);
}

TEST(VirtualClockTest, ARoundLastsAsLongAsItsSlowestClient) {
  const VirtualClock clock({.samples_per_second = {10, 20, 40}}, 0, 1);
  EXPECT_DOUBLE_EQ(clock.SecondsOf(0, ClientWith(0, 100), 0, 0), 10);
  EXPECT_DOUBLE_EQ(clock.SecondsOf(0, ClientWith(1, 100), 0, 0), 5);
  EXPECT_DOUBLE_EQ(clock.SecondsOf(0, ClientWith(2, 100), 0, 0), 2.5);
  const SimulatedRound round =
      clock.Play(0, {ClientWith(2, 100), ClientWith(1, 120)}, 0, 0);
  EXPECT_THAT(Answering(round), ElementsAre(2, 1));
  EXPECT_DOUBLE_EQ(round.seconds, 6);
}

TEST(VirtualClockTest, WhoMissesTheDeadlineIsAbsentAndTheRoundLastsUntilThen) {
  // 10, 5 and 2.5 seconds; to be there on time is enough.
  const VirtualClock clock({.samples_per_second = {10, 20, 40}}, 5, 1);
  const SimulatedRound round = clock.Play(0, CohortOf(3, 100), 0, 0);
  EXPECT_THAT(Answering(round), ElementsAre(1, 2));
  EXPECT_THAT(Absent(round), ElementsAre(0));
  EXPECT_THAT(std::string(round.absent[0].second.message()),
              HasSubstr("would answer after 10 s"));
  EXPECT_DOUBLE_EQ(round.seconds, 5);
}

TEST(VirtualClockTest, ADeadlineThatNobodyMissesChangesNothing) {
  const VirtualClock clock({.samples_per_second = {10}}, 11, 1);
  const SimulatedRound round = clock.Play(0, CohortOf(3, 100), 0, 0);
  EXPECT_THAT(Answering(round), ElementsAre(0, 1, 2));
  EXPECT_DOUBLE_EQ(round.seconds, 10);
}

// 40,000 chances of 0.3: 12,000, with a standard deviation of 92.
TEST(VirtualClockTest, ClientsDropOutAsOftenAsToldAndIndependently) {
  const VirtualClock clock({.dropout = 0.3}, 0, 1);
  int64_t dropped = 0;
  int64_t again = 0;  // client 0 in a round after one that it missed
  int64_t chances = 0;
  bool missed = false;
  for (int64_t round = 0; round < 4000; ++round) {
    const SimulatedRound played = clock.Play(round, CohortOf(10, 100), 0, 0);
    EXPECT_EQ(played.answering.size() + played.absent.size(), 10);
    EXPECT_EQ(played.seconds, 0);
    const std::vector<int64_t> absent = Absent(played);
    dropped += static_cast<int64_t>(absent.size());
    const bool misses = !absent.empty() && absent[0] == 0;
    chances += missed ? 1 : 0;
    again += missed && misses ? 1 : 0;
    missed = misses;
  }
  EXPECT_NEAR(static_cast<double>(dropped), 12'000, 460);
  // About 1,200 chances; five standard errors are 5 * sqrt(0.21 / 1200).
  EXPECT_NEAR(static_cast<double>(again) / static_cast<double>(chances), 0.3,
              0.067);
}

TEST(VirtualClockTest, TheServerWaitsForADroppedClientUntilTheDeadline) {
  const SimulationOptions options = {.samples_per_second = {10},
                                     .dropout = 0.5};
  const VirtualClock patient(options, 0, 1);
  const VirtualClock strict(options, 60, 1);
  int rounds_with_absent = 0;
  for (int64_t round = 0; round < 50; ++round) {
    const auto without = patient.Play(round, CohortOf(4, 100), 0, 0);
    const auto with = strict.Play(round, CohortOf(4, 100), 0, 0);
    EXPECT_EQ(Absent(with), Absent(without));
    EXPECT_EQ(without.seconds, without.answering.empty() ? 0 : 10);
    EXPECT_EQ(with.seconds, with.absent.empty() ? 10 : 60);
    rounds_with_absent += with.absent.empty() ? 0 : 1;
  }
  EXPECT_GT(rounds_with_absent, 0);
  EXPECT_LT(rounds_with_absent, 50);
}

// The logarithm of 4,000 speeds has the standard deviation 0.5, known to
// 0.5 / sqrt(8000) = 0.0056, and the mean of log 20, known to 0.0079. Five
// each.
TEST(VirtualClockTest, SpeedsAreLognormalAndStayWithTheClient) {
  const VirtualClock clock({.samples_per_second = {20}, .speed_spread = 0.5}, 0,
                           1);
  double sum = 0;
  double squares = 0;
  for (int64_t client = 0; client < 4000; ++client) {
    const double seconds = clock.SecondsOf(0, ClientWith(client, 100), 0, 0);
    EXPECT_EQ(clock.SecondsOf(9, ClientWith(client, 100), 0, 0), seconds);
    const double log_speed = std::log(100 / seconds);
    sum += log_speed / 4000;
    squares += log_speed * log_speed / 4000;
  }
  EXPECT_NEAR(sum, std::log(20), 0.04);
  EXPECT_NEAR(std::sqrt(squares - sum * sum), 0.5, 0.028);
}

// 10,000 chances of 0.2: 2,000, with a standard deviation of 40.
TEST(VirtualClockTest, StragglersAreSlowInTheirRoundsOnly) {
  const VirtualClock clock({.samples_per_second = {10},
                            .straggler_fraction = 0.2,
                            .straggler_slowdown = 4},
                           0, 1);
  int slow = 0;
  std::set<int64_t> ever;
  for (int64_t round = 0; round < 1000; ++round) {
    for (int64_t client = 0; client < 10; ++client) {
      const double seconds =
          clock.SecondsOf(round, ClientWith(client, 100), 0, 0);
      if (seconds > 20) {
        EXPECT_DOUBLE_EQ(seconds, 40);
        ++slow;
        ever.insert(client);
      } else {
        EXPECT_DOUBLE_EQ(seconds, 10);
      }
    }
  }
  EXPECT_NEAR(slow, 2000, 200);
  EXPECT_EQ(ever.size(), 10);
}

TEST(VirtualClockTest, SeedRoundAndClientDecideAndTheCohortDoesNot) {
  const SimulationOptions options = {.samples_per_second = {10},
                                     .speed_spread = 1,
                                     .straggler_fraction = 0.3,
                                     .dropout = 0.3};
  const auto play = [&](uint64_t seed, const std::vector<SimulatedClient>& c) {
    std::vector<std::pair<std::vector<int64_t>, double>> rounds;
    for (int64_t round = 0; round < 30; ++round) {
      const auto played = VirtualClock(options, 0, seed).Play(round, c, 0, 0);
      rounds.emplace_back(Answering(played), played.seconds);
    }
    return rounds;
  };
  const auto everybody = CohortOf(8, 100);
  EXPECT_EQ(play(1, everybody), play(1, everybody));
  EXPECT_NE(play(1, everybody), play(2, everybody));
  // Client 5 answers in the same rounds without the others.
  const auto all = play(1, everybody);
  const auto alone = play(1, {ClientWith(5, 100)});
  for (size_t round = 0; round < all.size(); ++round) {
    const auto& clients = all[round].first;
    EXPECT_EQ(std::count(clients.begin(), clients.end(), 5),
              static_cast<int64_t>(alone[round].first.size()));
  }
}

}  // namespace
}  // namespace fedlb
