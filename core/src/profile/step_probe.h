// Runs real rounds at a chosen batch size and measures them.

#ifndef FEDLB_SRC_PROFILE_STEP_PROBE_H_
#define FEDLB_SRC_PROFILE_STEP_PROBE_H_

#include <atomic>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "federation.h"
#include "fedlb/profile.h"
#include "round_runner.h"
#include "run_state.h"

namespace fedlb {

// A run of one client that holds all training examples, so that batches may be
// as large as the data set. What is measured is what `train` does: a round with
// the server's part, or a round's local step.
class StepProbe {
 public:
  // Takes over the federation, opens its transport and runs a round of the
  // smallest batch, after which everything that stays in memory is there.
  static absl::StatusOr<std::unique_ptr<StepProbe>> Open(
      Federation& federation, const std::atomic<int>* stop);

  int64_t num_examples() const;
  // What the tensors of the process hold between rounds.
  int64_t resident_bytes() const { return resident_bytes_; }
  // The most that tensors hold during an evaluation, in bytes.
  int64_t evaluation_bytes() const { return evaluation_bytes_; }
  int64_t steps_run() const { return steps_run_; }

  // Memory of one training step, with as many clients at a time as the
  // transport plays.
  //
  // kOutOfMemory: the memory limit was met; nothing is lost.
  absl::StatusOr<ProfilePoint> MeasureMemory(int64_t batch_size);

  // The most that the process had resident since MeasureMemory, with the steps
  // after it and a checkpoint; 0 where the system does not tell.
  absl::StatusOr<int64_t> MeasureProcess();

  // Runs one step and returns its times (num_timed 1, no memory).
  absl::StatusOr<ProfilePoint> TimeStep(int64_t batch_size);

 private:
  StepProbe(Federation& federation, RunState state)
      : federation_(federation),
        state_(std::move(state)),
        runner_(federation_, state_) {}

  // The bytes that an evaluation adds.
  absl::StatusOr<int64_t> MeasureEvaluation();
  absl::StatusOr<ScalarMap> RunSteps(int64_t batch_size, int64_t steps);

  Federation& federation_;
  RunState state_;
  RoundRunner runner_;
  int64_t resident_bytes_ = 0;
  int64_t evaluation_bytes_ = 0;
  int64_t steps_run_ = 0;
  // What the workers that were idle in MeasureMemory would have held.
  int64_t of_other_workers_ = 0;
};

}  // namespace fedlb

#endif  // FEDLB_SRC_PROFILE_STEP_PROBE_H_
