// What a client does for a teacher: a pair of a large batch's gradient and the
// displacement of small steps over the same examples.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "client_batches.h"
#include "fedlb/random.h"
#include "fedlb/status.h"
#include "local_client_worker.h"

namespace fedlb {

absl::StatusOr<TensorList> LocalClientWorker::Displace(
    const RoundTask& task, const std::vector<std::vector<int64_t>>& batches,
    const RandomKey& epoch_key) {
  for (const std::vector<int64_t>& batch : batches) {
    if (environment_.stop != nullptr && *environment_.stop != 0) {
      return InterruptedError("stopped while clients were training");
    }
    FEDLB_ASSIGN_OR_RETURN(
        GradientStep taken,
        TakeGradient(batch, epoch_key, static_cast<int64_t>(batch.size())));
    if (!std::isfinite(taken.loss)) {
      return DivergedError(absl::StrFormat(
          "the small steps of round %d diverge at lr %g", task.round, task.lr));
    }
    AddScaled(taken.gradient, -task.lr, weights_);
  }
  TensorList displacement = Clone(task.weights);
  AddScaled(weights_, -1, displacement);
  Scale(1 / task.lr, displacement);
  Copy(task.weights, weights_);
  Copy(task.buffers, buffers_);
  return displacement;
}

absl::StatusOr<Update> LocalClientWorker::TakeDisplacement(
    const RoundTask& task, const ClientAssignment& assignment,
    ClientState state) {
  if (!(task.lr > 0)) {
    return absl::InvalidArgumentError(
        "a displacement needs a learning rate above 0");
  }
  const auto& examples =
      (*environment_.partition)[static_cast<size_t>(assignment.client)];
  const ClientBatches walk(environment_.context.seed, assignment.client,
                           examples, assignment.batch_size);
  FEDLB_RETURN_IF_ERROR(LoadTask(task));
  model_->SetTraining(true);
  const RandomKey forward_key = {.seed = environment_.context.seed,
                                 .purpose = "displacement",
                                 .round = task.round,
                                 .client = assignment.client};
  model_->SeedForward(HashKey(forward_key));

  RandomKey epoch_key;
  std::vector<std::vector<int64_t>> batches;
  std::vector<int64_t> together;
  for (int64_t step = 0; step < task.work.local_steps; ++step) {
    batches.push_back(walk.Next(state, &epoch_key));
    together.insert(together.end(), batches.back().begin(),
                    batches.back().end());
  }
  FEDLB_ASSIGN_OR_RETURN(
      GradientStep taken,
      TakeGradient(together, epoch_key, assignment.batch_size));

  Update update;
  update.kind = Update::Kind::kGradient;
  update.round = task.round;
  update.client = assignment.client;
  update.local_steps = task.work.local_steps;
  update.num_examples = taken.examples;
  update.num_samples = 2 * taken.examples;
  update.groups[kParametersGroup] = std::move(taken.gradient);
  Copy(task.buffers, buffers_);
  FEDLB_ASSIGN_OR_RETURN(update.groups[kDisplacementGroup],
                         Displace(task, batches, epoch_key));
  if (task.work.reorder) {
    RandomKey order_key = forward_key;
    order_key.purpose = "displacement_order";
    RandomStream random(order_key);
    random.Shuffle(absl::MakeSpan(together));
    auto next = together.begin();
    for (std::vector<int64_t>& batch : batches) {
      const auto end = next + static_cast<ptrdiff_t>(batch.size());
      std::copy(next, end, batch.begin());
      next = end;
    }
    FEDLB_ASSIGN_OR_RETURN(update.groups[kReorderedGroup],
                           Displace(task, batches, epoch_key));
    update.num_samples += taken.examples;
  }
  if (!buffers_.empty()) {
    update.groups[kBuffersGroup] = Clone(buffers_);
  }
  // Error feedback has no place in a gradient that no step is taken with.
  ComponentState no_residual;
  FEDLB_RETURN_IF_ERROR(environment_.compressor->Compress(update, no_residual));
  return update;
}

}  // namespace fedlb
