#include "virtual_clock.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_format.h"
#include "fedlb/random.h"
#include "fedlb/status.h"

namespace fedlb {

VirtualClock::VirtualClock(const SimulationOptions& options,
                           double deadline_seconds, uint64_t seed)
    : options_(options), deadline_seconds_(deadline_seconds), seed_(seed) {}

double VirtualClock::SecondsOf(int64_t round, const SimulatedClient& client,
                               int64_t bytes_down, int64_t bytes_up) const {
  const std::vector<double>& speeds = options_.samples_per_second;
  const int64_t number = client.assignment.client;
  double speed =
      speeds.size() == 1 ? speeds[0] : speeds[static_cast<size_t>(number)];
  if (options_.speed_spread > 0) {
    RandomStream random(
        {.seed = seed_, .purpose = "client_speed", .client = number});
    speed *= std::exp(options_.speed_spread * random.Normal());
  }
  if (options_.straggler_fraction > 0) {
    RandomStream random({.seed = seed_,
                         .purpose = "straggler",
                         .round = round,
                         .client = number});
    if (random.Uniform() < options_.straggler_fraction) {
      speed /= options_.straggler_slowdown;
    }
  }
  double seconds = 2 * options_.latency_seconds +
                   static_cast<double>(client.samples) / speed;
  if (options_.bytes_per_second > 0) {
    seconds +=
        static_cast<double>(bytes_down + bytes_up) / options_.bytes_per_second;
  }
  return seconds;
}

SimulatedRound VirtualClock::Play(int64_t round,
                                  const std::vector<SimulatedClient>& cohort,
                                  int64_t bytes_down, int64_t bytes_up) const {
  SimulatedRound result;
  bool missed = false;
  for (const SimulatedClient& client : cohort) {
    const int64_t number = client.assignment.client;
    RandomStream random({.seed = seed_,
                         .purpose = "dropout",
                         .round = round,
                         .client = number});
    if (options_.dropout > 0 && random.Uniform() < options_.dropout) {
      result.absent.emplace_back(number,
                                 DeadlineError("dropped out (simulated)"));
      // Nobody tells the server: it waits.
      missed = true;
      continue;
    }
    if (!has_clock()) {
      result.answering.push_back(client.assignment);
      continue;
    }
    const double seconds = SecondsOf(round, client, bytes_down, bytes_up);
    if (deadline_seconds_ > 0 && seconds > deadline_seconds_) {
      result.absent.emplace_back(
          number, DeadlineError(absl::StrFormat(
                      "would answer after %.3g s, and "
                      "federation.deadline_seconds is %.3g",
                      seconds, deadline_seconds_)));
      missed = true;
      continue;
    }
    result.answering.push_back(client.assignment);
    result.client_seconds.push_back(seconds);
    result.seconds = std::max(result.seconds, seconds);
  }
  if (missed && has_clock() && deadline_seconds_ > 0) {
    result.seconds = deadline_seconds_;
  }
  return result;
}

}  // namespace fedlb
