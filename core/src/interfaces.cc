// The public halves of the component interfaces: they check what every
// implementation may rely on and turn exceptions into statuses.

#include <cstddef>
#include <string>
#include <utility>

#include <ATen/ops/cross_entropy_loss.h>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "fedlb/aggregator.h"
#include "fedlb/batch_policy.h"
#include "fedlb/dataset.h"
#include "fedlb/gradient_mapper.h"
#include "fedlb/model.h"
#include "fedlb/optimizer.h"
#include "fedlb/partitioner.h"
#include "fedlb/sampler.h"
#include "fedlb/status.h"
#include "fedlb/teacher.h"
#include "fedlb/transport.h"

namespace fedlb {
namespace {

TensorSpec SpecOf(const std::string& name, const at::Tensor& tensor) {
  return {name, tensor.sizes().vec(), tensor.scalar_type()};
}

}  // namespace

absl::StatusOr<at::Tensor> Model::Forward(const at::Tensor& inputs) {
  return CatchAsStatusOr("forward pass", [&]() -> absl::StatusOr<at::Tensor> {
    return DoForward(inputs);
  });
}

absl::StatusOr<at::Tensor> Model::Loss(const at::Tensor& logits,
                                       const at::Tensor& targets) {
  return CatchAsStatusOr("loss", [&]() -> absl::StatusOr<at::Tensor> {
    return DoLoss(logits, targets);
  });
}

at::Tensor Model::DoLoss(const at::Tensor& logits, const at::Tensor& targets) {
  // Half precision loses the tail of the softmax.
  return at::cross_entropy_loss(
      logits.scalar_type() == at::kBFloat16 ? logits.to(at::kFloat) : logits,
      targets, /*weight=*/{}, at::Reduction::Mean, /*ignore_index=*/-100,
      training_ ? label_smoothing_ : 0);
}

void Model::SetTraining(bool training) { training_ = training; }

at::Tensor Model::AddParameter(const std::string& name, at::Tensor tensor) {
  tensor.set_requires_grad(true);
  parameter_layout_.push_back(SpecOf(name, tensor));
  parameters_.push_back(tensor);
  return tensor;
}

at::Tensor Model::AddBuffer(const std::string& name, at::Tensor tensor) {
  buffer_layout_.push_back(SpecOf(name, tensor));
  buffers_.push_back(tensor);
  return tensor;
}

absl::StatusOr<Batch> Dataset::Load(Split split,
                                    absl::Span<const int64_t> indices,
                                    const RandomKey* epoch_key) const {
  if (indices.empty()) {
    return absl::InvalidArgumentError("a batch without examples");
  }
  const int64_t count = size(split);
  for (const int64_t index : indices) {
    if (index < 0 || index >= count) {
      return absl::InvalidArgumentError(
          absl::StrCat("example ", index, " of ", count));
    }
  }
  return CatchAsStatusOr("loading a batch", [&]() -> absl::StatusOr<Batch> {
    return DoLoad(split, indices, epoch_key);
  });
}

absl::StatusOr<Partition> Partitioner::Deal(absl::Span<const int64_t> indices,
                                            absl::Span<const int64_t> labels,
                                            int64_t num_classes,
                                            int64_t num_clients) {
  if (num_clients < 1) {
    return ConfigError("federation.clients must be at least 1");
  }
  const auto examples = static_cast<int64_t>(indices.size());
  if (num_clients > examples) {
    return ConfigError(absl::StrCat(
        "federation.clients = ", num_clients, " is more than the ", examples,
        " training examples; every client needs at least one: use fewer "
        "clients or more data (dataset.limit_train)"));
  }
  FEDLB_ASSIGN_OR_RETURN(
      Partition partition,
      CatchAsStatusOr("partitioner", [&]() -> absl::StatusOr<Partition> {
        return DoDeal(indices, labels, num_classes, num_clients);
      }));
  if (static_cast<int64_t>(partition.size()) != num_clients) {
    return absl::InternalError(absl::StrCat("the partitioner made ",
                                            partition.size(), " shares for ",
                                            num_clients, " clients"));
  }
  absl::flat_hash_set<int64_t> free(indices.begin(), indices.end());
  for (size_t client = 0; client < partition.size(); ++client) {
    if (partition[client].empty()) {
      return ConfigError(absl::StrCat(
          "the partitioner leaves client ", client,
          " without examples; use fewer clients or a less skewed partition"));
    }
    for (const int64_t index : partition[client]) {
      if (free.erase(index) == 0) {
        return absl::InternalError(absl::StrCat(
            "the partitioner gave example ", index,
            " to two clients, or it is none of the training examples"));
      }
    }
  }
  return partition;
}

absl::StatusOr<std::vector<int64_t>> Sampler::Sample(
    const SamplingRequest& request) {
  const auto num_clients = static_cast<int64_t>(request.num_examples.size());
  if (request.cohort_size < 1 || request.cohort_size > num_clients) {
    return absl::InvalidArgumentError(
        absl::StrCat("a cohort of ", request.cohort_size, " out of ",
                     num_clients, " clients"));
  }
  FEDLB_ASSIGN_OR_RETURN(
      std::vector<int64_t> cohort,
      CatchAsStatusOr("sampler", [&]() -> absl::StatusOr<std::vector<int64_t>> {
        return DoSample(request);
      }));
  if (cohort.empty() ||
      static_cast<int64_t>(cohort.size()) > request.cohort_size) {
    return absl::InternalError(absl::StrCat("the sampler chose ", cohort.size(),
                                            " clients instead of ",
                                            request.cohort_size));
  }
  absl::flat_hash_set<int64_t> seen;
  for (const int64_t client : cohort) {
    if (client < 0 || client >= num_clients || !seen.insert(client).second) {
      return absl::InternalError(absl::StrCat(
          "the sampler chose client ", client, " twice or out of range"));
    }
  }
  return cohort;
}

absl::Status Optimizer::Step(const TensorList& gradient, double lr,
                             TensorList& weights) {
  if (gradient.size() != weights.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("a gradient of ", gradient.size(), " tensors for ",
                     weights.size(), " weights"));
  }
  for (size_t i = 0; i < weights.size(); ++i) {
    if (gradient[i].sizes() != weights[i].sizes()) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", i,
                       " of the gradient has another shape than "
                       "the weights"));
    }
  }
  return CatchAsStatus("optimizer step",
                       [&] { return DoStep(gradient, lr, weights); });
}

absl::StatusOr<int64_t> BatchPolicy::BatchSize(int64_t round, int64_t client) {
  FEDLB_ASSIGN_OR_RETURN(
      const int64_t size,
      CatchAsStatusOr("batch policy", [&]() -> absl::StatusOr<int64_t> {
        return DoBatchSize(round, client);
      }));
  if (size < 1) {
    return absl::InternalError(absl::StrCat("the batch policy gave client ",
                                            client, " a batch of ", size));
  }
  return size;
}

absl::Status Aggregator::Begin(const TensorLayout& layout) {
  layout_ = layout;
  num_added_ = 0;
  in_round_ = true;
  return CatchAsStatus("aggregator", [&] { return DoBegin(layout); });
}

absl::Status Aggregator::Add(const Update& update) {
  if (!in_round_) {
    return absl::FailedPreconditionError("Add without Begin");
  }
  const auto parameters = update.groups.find(kParametersGroup);
  if (parameters == update.groups.end()) {
    return absl::InvalidArgumentError("update without parameters");
  }
  FEDLB_RETURN_IF_ERROR(CheckLayout(layout_, parameters->second));
  if (update.num_examples < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("client ", update.client, " counts ", update.num_examples,
                     " examples"));
  }
  FEDLB_RETURN_IF_ERROR(
      CatchAsStatus("aggregator", [&] { return DoAdd(update); }));
  ++num_added_;
  return absl::OkStatus();
}

absl::StatusOr<TensorList> Aggregator::Finish() {
  if (!in_round_ || num_added_ < min_updates()) {
    return absl::FailedPreconditionError(absl::StrCat(
        num_added_, " updates to aggregate; the rule needs ", min_updates()));
  }
  in_round_ = false;
  return CatchAsStatusOr(
      "aggregator", [&]() -> absl::StatusOr<TensorList> { return DoFinish(); });
}

absl::Status GradientMapper::Map(const StepContext& context,
                                 TensorList& gradient) {
  if (gradient.empty()) {
    return absl::InvalidArgumentError("an empty gradient");
  }
  if (NeedsPartialMeans() && context.partial_means.empty()) {
    return absl::InvalidArgumentError(
        "the gradient mapper needs partial means and got none");
  }
  return CatchAsStatus("gradient mapper",
                       [&] { return DoMap(context, gradient); });
}

absl::Status Teacher::Map(const TeacherStep& step, TensorList& gradient) {
  if (gradient.empty()) {
    return absl::InvalidArgumentError("an empty gradient");
  }
  if (NeedsPartialMeans() && step.context.partial_means.empty()) {
    return absl::InvalidArgumentError(
        "the teacher needs partial means and got none");
  }
  return CatchAsStatus("teacher", [&] { return DoMap(step, gradient); });
}

absl::Status Teacher::Observe(const TeacherStep& step) {
  if (NeedsPartialMeans() && step.context.partial_means.empty()) {
    return absl::InvalidArgumentError(
        "the teacher needs partial means and got none");
  }
  return CatchAsStatus("teacher", [&] { return DoObserve(step); });
}

absl::Status Transport::Open(ClientHost& host) {
  FEDLB_RETURN_IF_ERROR(
      CatchAsStatus("opening the transport", [&] { return DoOpen(host); }));
  open_ = true;
  return absl::OkStatus();
}

absl::Status Transport::RunRound(const RoundTask& task,
                                 absl::Span<const ClientAssignment> cohort,
                                 UpdateSink& sink) {
  if (!open_) {
    return absl::FailedPreconditionError("the transport is not open");
  }
  if (static_cast<int64_t>(cohort.size()) != sink.cohort_size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(cohort.size(), " assignments for a sink of ",
                     sink.cohort_size(), " clients"));
  }
  return CatchAsStatus("transport",
                       [&] { return DoRunRound(task, cohort, sink); });
}

absl::StatusOr<double> Transport::Probe(int64_t bytes) {
  if (!open_) {
    return absl::FailedPreconditionError("the transport is not open");
  }
  return CatchAsStatusOr("transport", [&] { return DoProbe(bytes); });
}

void Transport::Close() {
  if (std::exchange(open_, false)) {
    DoClose();
  }
}

}  // namespace fedlb
