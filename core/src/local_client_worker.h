// Does a client's work of a round with a model that is resident in memory.

#ifndef FEDLB_LOCAL_CLIENT_WORKER_H_
#define FEDLB_LOCAL_CLIENT_WORKER_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "fedlb/client_algorithm.h"
#include "fedlb/client_host.h"
#include "fedlb/component.h"
#include "fedlb/compressor.h"
#include "fedlb/dataset.h"
#include "fedlb/experiment.h"
#include "fedlb/experiment_config.h"
#include "fedlb/gradient_mapper.h"
#include "fedlb/model.h"
#include "fedlb/optimizer.h"
#include "fedlb/partitioner.h"
#include "fedlb/registry.h"
#include "fedlb/sync_policy.h"

namespace fedlb {

// What all clients of a process share; read-only while rounds run.
struct ClientEnvironment {
  const ExperimentConfig* config = nullptr;
  const ComponentRegistry* registry = nullptr;
  ComponentContext context;
  const Dataset* dataset = nullptr;
  const Partition* partition = nullptr;
  const ClientAlgorithm* algorithm = nullptr;
  const Compressor* compressor = nullptr;
  const SyncPolicy* sync_policy = nullptr;
  // Raised from outside to stop between two steps; may be null.
  const std::atomic<int>* stop = nullptr;
};

// Loss and hits over some examples.
struct EvaluationSums {
  double loss = 0;
  int64_t correct = 0;
  int64_t correct_top5 = 0;
  int64_t examples = 0;
  // By class.
  std::vector<int64_t> class_examples;
  std::vector<int64_t> class_correct;
};

class LocalClientWorker final : public ClientWorker {
 public:
  // Makes the model, the optimizer and, when its scope is client, the gradient
  // mapper on the calling thread. `environment` outlives the worker.
  static absl::StatusOr<std::unique_ptr<LocalClientWorker>> Create(
      const ClientEnvironment& environment);

  absl::StatusOr<Update> Run(const RoundTask& task,
                             const ClientAssignment& assignment,
                             ClientState& state) override;

  // Loss and accuracy of the given weights on examples of a split.
  absl::StatusOr<EvaluationSums> Evaluate(const TensorList& weights,
                                          const TensorList& buffers,
                                          Split split,
                                          absl::Span<const int64_t> indices);

 private:
  // One batch's gradient and what was seen on the way.
  struct GradientStep {
    TensorList gradient;
    std::vector<TensorList> partial_means;  // when the mapper asks for them
    double loss = 0;                        // mean over the batch
    int64_t correct = 0;
    int64_t examples = 0;
    double data_seconds = 0;
    double forward_seconds = 0;
    double backward_seconds = 0;
  };

  explicit LocalClientWorker(const ClientEnvironment& environment)
      : environment_(environment) {}

  absl::Status LoadTask(const RoundTask& task);
  // Puts the client's own weights in the place of the task's, where the task
  // lets it go on from them.
  absl::Status LoadOwnWeights(const RoundTask& task, const ClientState& state);
  // The answer to RoundWork::Kind::kDisplacement (displacement_work.cc).
  absl::StatusOr<Update> TakeDisplacement(const RoundTask& task,
                                          const ClientAssignment& assignment,
                                          ClientState state);
  // The displacement of a plain SGD step over each of `batches`, with the
  // round's weights to begin with and in the end.
  absl::StatusOr<TensorList> Displace(
      const RoundTask& task, const std::vector<std::vector<int64_t>>& batches,
      const RandomKey& epoch_key);
  absl::StatusOr<GradientStep> TakeGradient(
      absl::Span<const int64_t> indices, const RandomKey& epoch_key,
      int64_t micro_batch_size);

  const ClientEnvironment& environment_;
  std::unique_ptr<Model> model_;
  TensorList weights_;  // the model's parameters, detached from autograd
  TensorList buffers_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<GradientMapper> mapper_;  // null unless the scope is client
  bool mapper_needs_partial_means_ = false;
};

}  // namespace fedlb

#endif  // FEDLB_LOCAL_CLIENT_WORKER_H_
