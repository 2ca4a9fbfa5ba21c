// An experiment: a resolved configuration brought to life.

#ifndef FEDLB_EXPERIMENT_H_
#define FEDLB_EXPERIMENT_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "fedlb/component.h"
#include "fedlb/experiment_config.h"
#include "fedlb/export.h"
#include "fedlb/logger.h"
#include "fedlb/memory.h"
#include "fedlb/registry.h"
#include "fedlb/transport.h"

namespace fedlb {

struct DeviceProfile;   // profile.h
struct ProfileOptions;  // profile.h

// Loss and accuracies in [0, 1] over one split; NaN where nothing was measured.
struct Evaluation {
  double loss = 0;
  double accuracy = 0;
  double accuracy_top5 = 0;
  int64_t num_examples = 0;
  // By class; empty where nothing was measured.
  std::vector<int64_t> class_examples;
  std::vector<int64_t> class_correct;
};

// What a run would do, found out without training.
struct ExperimentPlan {
  int64_t rounds = 0;
  int64_t clients = 0;
  int64_t cohort_size = 0;
  int64_t train_examples = 0;
  int64_t validation_examples = 0;
  int64_t test_examples = 0;
  // Over the clients of the partition.
  int64_t min_client_examples = 0;
  int64_t max_client_examples = 0;
  // Examples per local step over the clients of the first round. A client that
  // holds fewer than its batch size takes all it has.
  int64_t min_batch = 0;
  int64_t max_batch = 0;
  int64_t clients_below_batch_size = 0;
  int64_t parameters = 0;
  // Over the whole run, with every client of every cohort answering.
  int64_t optimizer_steps = 0;
  int64_t samples = 0;
  int64_t bytes_to_clients = 0;
  int64_t bytes_from_clients = 0;
  // Memory that the run holds between steps.
  int64_t dataset_bytes = 0;
  int64_t model_bytes = 0;         // weights and gradients, all workers
  int64_t optimizer_bytes = 0;     // all workers
  int64_t mapper_bytes = 0;        // server and, with client scope, all workers
  int64_t client_state_bytes = 0;  // all clients
  // Measured on a few steps of the largest batch.
  int64_t peak_step_bytes = 0;
  double seconds = 0;  // training only
};

// Whether a resumed run may have another value of `key` ("section.key") than it
// was started with: what the weights do not depend on, and the number of rounds.
FEDLB_API bool MayChangeOnResume(absl::string_view key);

struct RoundProgress {
  int64_t round = 0;  // rounds done
  int64_t rounds = 0;
  double train_loss = 0;
  double test_accuracy = 0;  // of the newest evaluation, NaN before the first
  double samples_per_second = 0;
  double seconds = 0;      // training so far, this process
  double eta_seconds = 0;  // evaluations and checkpoints included
};

struct TrainOptions {
  std::string run_dir;
  bool resume = false;
  std::vector<std::string> argv;  // for run.json
  // Raised by a signal handler: 1 finishes the step, checkpoints and ends with
  // kInterrupted.
  const std::atomic<int>* stop = nullptr;
  std::function<void(const RoundProgress&)> on_progress;
  // Of this device, to hold the run against; may be null.
  const DeviceProfile* profile = nullptr;
};

// What a profile predicted of a run, and what the run took.
struct ProfileComparison {
  int64_t rounds = 0;  // whose time was predicted
  // Means over these rounds, in seconds, of what DeviceProfile calls a step.
  double predicted_seconds = 0;
  double measured_seconds = 0;
  // The median over the rounds of |predicted / measured - 1|.
  double median_error = 0;
  // Of tensors; predicted is 0 where the profile tells nothing of the batch
  // sizes.
  int64_t predicted_peak_bytes = 0;
  int64_t measured_peak_bytes = 0;
};

struct TrainResult {
  std::string run_dir;
  int64_t rounds = 0;
  int64_t steps = 0;    // optimizer steps of server or clients, all rounds
  int64_t samples = 0;  // examples whose gradient was taken, all rounds
  Evaluation test;
  Evaluation validation;
  double train_loss = 0;  // of the last round
  double seconds = 0;     // training only, all processes of a resumed run
  double evaluation_seconds = 0;  // likewise
  // Of the simulated clients' clock, 0 without one.
  double virtual_seconds = 0;
  // "rounds", or the setting of [stopping] that ended the run.
  std::string stopped_by;
  double samples_per_second = 0;
  int64_t peak_memory_bytes = 0;  // of tensors
  MemoryStats memory;
  std::optional<ProfileComparison> profile;
  std::string weights_sha256;
  ScalarMap mapper;  // scaled_share, mean_gain, quantiles of Delta(g), ...
  int64_t dropped_updates = 0;
  TransportTraffic traffic;  // of this process
};

struct EvaluateOptions {
  // A safetensors file with the model's tensors by name; empty for the newest
  // weights in the folder of the run.
  std::string weights;
  std::string run_dir;
  // Where to write the evaluated weights as a safetensors state dict; empty for
  // nowhere.
  std::string export_to;
  const std::atomic<int>* stop = nullptr;
};

struct EvaluationReport {
  std::string weights;  // the file that was evaluated
  Evaluation test;
  Evaluation validation;
  // By client: the accuracy on test examples in the mix of classes that the
  // client trains on, which is the mean of the classes' accuracies weighted by
  // the client's examples of each. NaN where no class of it was tested.
  std::vector<double> client_accuracy;
};

class FEDLB_API Experiment {
 public:
  // Makes every component and deals the data out. `registry` and `logger`
  // outlive the experiment.
  static absl::StatusOr<std::unique_ptr<Experiment>> Create(
      const ExperimentConfig& config, const ComponentRegistry& registry,
      Logger& logger);
  virtual ~Experiment() = default;

  // kInterrupted when `stop` is raised; it may be null.
  virtual absl::StatusOr<ExperimentPlan> Plan(const std::atomic<int>* stop) = 0;

  // Runs the rounds; called once. What is on disk when it fails is the last
  // good checkpoint.
  virtual absl::StatusOr<TrainResult> Train(const TrainOptions& options) = 0;

  // Measures weights on the held-out examples without training.
  //
  // kInputFile: weights missing, damaged or of another model.
  virtual absl::StatusOr<EvaluationReport> Evaluate(
      const EvaluateOptions& options) = 0;

  // Measures this device with the experiment's model, data and methods. Called
  // once, and nothing else after it.
  //
  // kOutOfMemory: not even the smallest batch, or an evaluation, fits.
  virtual absl::StatusOr<DeviceProfile> Profile(
      const ProfileOptions& options) = 0;

  // Has the server's mapper learn from the files that its options name, as Train
  // does before the first round, and returns its GradientMapper::Summary. For
  // mappers that are wanted without a run.
  virtual absl::StatusOr<ScalarMap> FitMapper() = 0;

  // Writes the gradient mapper with what it has learnt (mapper_file.h).
  //
  // kStorage: as WriteFileDurably.
  virtual absl::Status SaveMapper(const std::string& path) const = 0;

  virtual const ExperimentConfig& config() const = 0;
};

}  // namespace fedlb

#endif  // FEDLB_EXPERIMENT_H_
