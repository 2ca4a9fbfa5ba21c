// The rounds of a run.

#ifndef FEDLB_ROUND_LOOP_H_
#define FEDLB_ROUND_LOOP_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/experiment.h"
#include "fedlb/gradient_mapper.h"
#include "fedlb/run_directory.h"
#include "federation.h"
#include "run_state.h"

namespace fedlb {

// Runs the rounds that are left in `state` and keeps the run directory up to
// date. `federation` has been restored to `state` and its transport is open.
class RoundLoop {
 public:
  RoundLoop(Federation& federation, RunState& state, RunDirectory& directory,
            const TrainOptions& options);

  absl::Status Run();

  // Of the weights after the last round, or NaN.
  const Evaluation& test() const { return test_; }
  const Evaluation& validation() const { return validation_; }
  // What ended the run: "rounds", or a setting of [stopping].
  const std::string& stopped_by() const { return stopped_by_; }

 private:
  struct CollectedPair {
    StepContext context;
    DisplacementPair pair;
    int64_t num_samples = 0;
  };

  absl::Status RunRound(ScalarMap& metrics);
  // What a mapper is told about a round of the server's optimizer.
  StepContext ContextOf(const RoundTask& task, double lr,
                        int64_t batch_size) const;
  // A pair for a mapper that wants one, made by a client; nullopt when none was
  // wanted or the client was lost.
  absl::StatusOr<std::optional<CollectedPair>> CollectDisplacement(
      const RoundTask& task, const std::vector<ClientAssignment>& cohort);
  // Leaves out of the cohort who does not answer in the simulation.
  std::vector<ClientAssignment> Simulate(
      const RoundTask& task, std::vector<ClientAssignment> cohort,
      std::vector<std::pair<int64_t, absl::Status>>& absent,
      ScalarMap& metrics);
  // Whether the aggregate of the round is applied.
  absl::StatusOr<bool> CloseRound(const RoundTask& task, ScalarMap& metrics);
  void RecordMapper(const ScalarMap& metrics);
  absl::Status ApplyAggregate(const RoundTask& task, RoundResult& result,
                              const PartialMeans& partial_means,
                              const std::optional<CollectedPair>& pair,
                              ScalarMap& metrics);
  absl::Status CheckSurvivors(
      const RoundResult& result,
      const std::vector<std::pair<int64_t, absl::Status>>& absent) const;
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
  Evaluation test_;
  Evaluation validation_;
  std::string stopped_by_ = "rounds";
  int64_t checkpointed_round_ = -1;
  // Since this process began.
  double seconds_here_ = 0;
  double all_seconds_here_ = 0;  // with evaluations and checkpoints
  int64_t samples_here_ = 0;
  int64_t rounds_here_ = 0;
};

}  // namespace fedlb

#endif  // FEDLB_ROUND_LOOP_H_
