// Where a run stands between two rounds, and how that becomes a checkpoint.

#ifndef FEDLB_RUN_STATE_H_
#define FEDLB_RUN_STATE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/critical_phase.h"
#include "fedlb/export.h"
#include "fedlb/run_directory.h"
#include "fedlb/tensor_list.h"
#include "federation.h"
#include "gradient_noise.h"

namespace fedlb {

// What marks a checkpoint in a file's metadata, and what stands before the names
// of the model's tensors in it.
inline constexpr char kRunStateKey[] = "fedlb.run_state";
inline constexpr char kWeightsPrefix[] = "weights/";
inline constexpr char kBuffersPrefix[] = "buffers/";

// Together with the states of the federation's components, all that a run
// needs to go on as if it had never stopped.
struct RunState {
  // The initial weights; nothing done.
  FEDLB_API explicit RunState(const Federation& federation);

  int64_t next_round = 0;
  int64_t steps = 0;             // the server's in BSP, the clients' otherwise
  int64_t steps_per_client = 0;  // of the client that made most in each round
  int64_t samples = 0;
  int64_t dropped_updates = 0;
  double seconds = 0;  // training only
  double evaluation_seconds = 0;
  double virtual_seconds = 0;  // on the simulated clients' clock
  // For [stopping]: the best accuracy so far, and the evaluations since.
  double best_accuracy = 0;
  int64_t evaluations_since_best = 0;
  double train_loss = 0;
  TensorList weights;
  TensorList buffers;
  CriticalPhaseDetector detector;
  NoiseAverage noise;  // of the gradients of BSP rounds
  // Delta(g) of every round, for the quantiles of the result.
  std::vector<double> gradient_changes;
  // Sums over rounds of what the gradient mapper reported, and their number.
  ScalarMap mapper_sums;
  int64_t mapper_reports = 0;
  // Lengths of metrics.jsonl and of the event file at the end of the round
  // before.
  int64_t metrics_length = 0;
  int64_t events_length = 0;
};

// The digest of everything in the configuration that the weights depend on. A
// run may be resumed with other values of the rest.
std::string ConfigDigest(const ExperimentConfig& config);

FEDLB_API absl::StatusOr<StoredCheckpoint> MakeCheckpoint(const RunState& state,
                                                const Federation& federation);

// Restores the components of `federation` too.
//
// kConfig when the checkpoint belongs to another configuration; kInputFile when
// its content does not fit the model or the components.
FEDLB_API absl::StatusOr<RunState> RestoreCheckpoint(
    const StoredCheckpoint& checkpoint, Federation& federation);

}  // namespace fedlb

#endif  // FEDLB_RUN_STATE_H_
