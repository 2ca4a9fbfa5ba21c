// One round of a federation: from the cohort to the new weights.

#ifndef FEDLB_SRC_ROUND_RUNNER_H_
#define FEDLB_SRC_ROUND_RUNNER_H_

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "federation.h"
#include "fedlb/export.h"
#include "fedlb/gradient_mapper.h"
#include "fedlb/round_task.h"
#include "fedlb/update_sink.h"
#include "gradient_noise.h"
#include "run_state.h"
#include "virtual_clock.h"

namespace fedlb {

// Moves `state` on by rounds. `federation` stands where `state` stands, and its
// transport is open; both outlive the runner.
class RoundRunner {
 public:
  FEDLB_API RoundRunner(Federation& federation, RunState& state);

  // The next round of the run. Returns its metrics, the scalars of
  // metrics.jsonl. A round that fails leaves the state of the round before.
  //
  // kDeadline: fewer usable updates than federation.min_cohort; kDiverged:
  // loss or weights are not finite; kInterrupted: stopped by the environment.
  absl::StatusOr<ScalarMap> Run();

  // The same with other work and another cohort than the policies plan.
  FEDLB_API absl::StatusOr<ScalarMap> Run(const RoundWork& work,
                                          std::vector<ClientAssignment> cohort);

  // Shows the updates of all later rounds to `observer`, which outlives the
  // runner.
  void AddObserver(UpdateObserver& observer) {
    extra_observers_.push_back(&observer);
  }

 private:
  struct CollectedPair {
    StepContext context;
    DisplacementPair pair;
    int64_t num_samples = 0;
  };

  // What a mapper is told about a round of the server's optimizer.
  StepContext ContextOf(const RoundTask& task, double lr,
                        int64_t batch_size) const;
  // A pair for a mapper that wants one, made by a client; nullopt when none was
  // wanted or the client was lost.
  absl::StatusOr<std::optional<CollectedPair>> CollectDisplacement(
      const RoundTask& task, const std::vector<ClientAssignment>& cohort);
  // The largest eigenvalue of the Hessian, by power iteration on differences of
  // the gradient of one batch of one client of the cohort; nullopt when that
  // client was lost or the loss is flat.
  absl::StatusOr<std::optional<double>> EstimateCurvature(
      const RoundTask& task, const std::vector<ClientAssignment>& cohort);
  // The gradient of the batch that comes next for a client, which it stays.
  // nullopt when the client was lost. The task's work is a gradient.
  absl::StatusOr<std::optional<RoundResult>> AskOneClient(
      const RoundTask& task, const ClientAssignment& assignment);
  // Who answers in the simulation, and when.
  absl::StatusOr<SimulatedRound> Simulate(
      const RoundTask& task, const std::vector<ClientAssignment>& cohort,
      ScalarMap& metrics);
  // Whether the aggregate of the round is applied.
  absl::StatusOr<bool> CloseRound(const RoundTask& task, ScalarMap& metrics);
  void RecordNoise(const NoiseObserver& noise, const TensorList& mean,
                   ScalarMap& metrics);
  void RecordMapper(const ScalarMap& metrics);
  absl::Status ApplyAggregate(const RoundTask& task, RoundResult& result,
                              const PartialMeans& partial_means,
                              const std::optional<CollectedPair>& pair,
                              ScalarMap& metrics);
  absl::Status CheckSurvivors(
      const RoundResult& result,
      const std::vector<std::pair<int64_t, absl::Status>>& absent) const;

  Federation& federation_;
  RunState& state_;
  std::vector<UpdateObserver*> extra_observers_;
  // What a client sends, once the clock has asked.
  std::optional<int64_t> bytes_up_;
};

}  // namespace fedlb

#endif  // FEDLB_SRC_ROUND_RUNNER_H_
