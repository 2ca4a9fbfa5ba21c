// When simulated clients answer, on a clock of their own.

#ifndef FEDLB_SRC_VIRTUAL_CLOCK_H_
#define FEDLB_SRC_VIRTUAL_CLOCK_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "fedlb/experiment_config.h"
#include "fedlb/export.h"
#include "fedlb/round_task.h"

namespace fedlb {

// One client's part in a round, before it is played.
struct SimulatedClient {
  ClientAssignment assignment;
  int64_t samples = 0;  // examples whose gradient it will take
};

struct SimulatedRound {
  // Who answers in time, in the order of the cohort. The others need not be
  // played: their answers would not count.
  std::vector<ClientAssignment> answering;
  // Of those who answer; empty without a clock.
  std::vector<double> client_seconds;
  std::vector<std::pair<int64_t, absl::Status>> absent;
  // Until the last answer, or the deadline where somebody misses it. 0 without
  // a clock.
  double seconds = 0;
};

// A client takes
//   2 * latency + bytes down / bandwidth + samples / speed + bytes up / bandwidth
// seconds. Its speed is samples_per_second times a lognormal factor that it
// keeps for the whole run, divided by straggler_slowdown in the rounds in which
// it is slow. What is random depends on (seed, round, client) alone.
class FEDLB_API VirtualClock {
 public:
  // No clock, no deadline, no dropout.
  VirtualClock() = default;
  // A deadline of 0 waits for all.
  VirtualClock(const SimulationOptions& options, double deadline_seconds,
               uint64_t seed);

  bool has_clock() const { return !options_.samples_per_second.empty(); }

  // Seconds that a client takes for a round, without a deadline.
  double SecondsOf(int64_t round, const SimulatedClient& client,
                   int64_t bytes_down, int64_t bytes_up) const;

  SimulatedRound Play(int64_t round, const std::vector<SimulatedClient>& cohort,
                      int64_t bytes_down, int64_t bytes_up) const;

 private:
  SimulationOptions options_;
  double deadline_seconds_ = 0;
  uint64_t seed_ = 1;
};

}  // namespace fedlb

#endif  // FEDLB_SRC_VIRTUAL_CLOCK_H_
