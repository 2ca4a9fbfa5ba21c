// The rounds of a run, with their evaluations, logs and checkpoints.

#ifndef FEDLB_ROUND_LOOP_H_
#define FEDLB_ROUND_LOOP_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "federation.h"
#include "fedlb/experiment.h"
#include "fedlb/run_directory.h"
#include "profile/profile_check.h"
#include "round_runner.h"
#include "run_state.h"

namespace fedlb {

// Runs the rounds that are left in `state` and keeps the run directory up to
// date. `federation` has been restored to `state` and its transport is open.
// `profile_check` may be null.
class RoundLoop {
 public:
  RoundLoop(Federation& federation, RunState& state, RunDirectory& directory,
            const TrainOptions& options, ProfileCheck* profile_check);

  absl::Status Run();

  // Of the weights after the last round, or NaN.
  const Evaluation& test() const { return test_; }
  const Evaluation& validation() const { return validation_; }
  // What ended the run: "rounds", or a setting of [stopping].
  const std::string& stopped_by() const { return stopped_by_; }

 private:
  absl::Status EvaluateWeights(ScalarMap& metrics);
  absl::Status Checkpoint();
  // The setting of [stopping] that is met, or "".
  std::string StopReason() const;
  void Log(const ScalarMap& metrics);
  void ReportProgress();
  bool StopRequested() const;

  Federation& federation_;
  RunState& state_;
  RunDirectory& directory_;
  const TrainOptions& options_;
  ProfileCheck* const profile_check_;
  RoundRunner runner_;
  Evaluation test_;
  Evaluation validation_;
  std::string stopped_by_ = "rounds";
  int64_t checkpointed_round_ = -1;
  // When this process began, and since then.
  const int64_t first_round_;
  const int64_t samples_before_;
  const double seconds_before_;
  double all_seconds_here_ = 0;  // with evaluations and checkpoints
};

}  // namespace fedlb

#endif  // FEDLB_ROUND_LOOP_H_
