#include "local_client_worker.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/argmax.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client_batches.h"
#include "fedlb/critical_phase.h"
#include "fedlb/memory.h"
#include "fedlb/status.h"
#include "state_bundle.h"
#include "stopwatch.h"

namespace fedlb {
namespace {

// Names in a client's state.
constexpr char kOwnWeights[] = "weights";
constexpr char kBaseRound[] = "base_round";

// Casts the operations that gain from it to bfloat16 while it lives.
class Bf16Autocast {
 public:
  explicit Bf16Autocast(bool enabled) : enabled_(enabled) {
    if (enabled_) {
      at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
      at::autocast::set_autocast_enabled(at::kCPU, true);
    }
  }
  ~Bf16Autocast() {
    if (enabled_) {
      at::autocast::set_autocast_enabled(at::kCPU, false);
      // The cache holds casts of weights that the next step changes.
      at::autocast::clear_cache();
    }
  }
  Bf16Autocast(const Bf16Autocast&) = delete;
  Bf16Autocast& operator=(const Bf16Autocast&) = delete;

 private:
  const bool enabled_;
};

int64_t CountCorrect(const at::Tensor& logits, const at::Tensor& targets) {
  return logits.argmax(1).eq(targets).sum().item<int64_t>();
}

// Occurrences of 0 to classes - 1.
std::vector<int64_t> CountByClass(const at::Tensor& targets, int64_t classes) {
  const at::Tensor counts = targets.bincount({}, classes).to(at::kCPU);
  const int64_t* data = counts.const_data_ptr<int64_t>();
  return std::vector<int64_t>(data, data + classes);
}

// Numbers averaged over the steps of one client's round.
class StepAverages {
 public:
  void Add(const std::string& name, double value, double weight = 1) {
    auto& [sum, total] = sums_[name];
    sum += weight * value;
    total += weight;
  }
  void WriteTo(ScalarMap& scalars) const {
    for (const auto& [name, sum] : sums_) {
      scalars[name] = sum.first / sum.second;
    }
  }

 private:
  std::map<std::string, std::pair<double, double>> sums_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<LocalClientWorker>> LocalClientWorker::Create(
    const ClientEnvironment& environment) {
  const ExperimentConfig& config = *environment.config;
  std::unique_ptr<LocalClientWorker> worker(new LocalClientWorker(environment));
  const MemoryTagScope tag(MemoryTag::kParameters);
  FEDLB_ASSIGN_OR_RETURN(
      worker->model_, environment.registry->Create<Model>(
                          config.components.at("model"), environment.context));
  worker->model_->set_label_smoothing(config.model_use.label_smoothing);
  worker->weights_ = Detach(worker->model_->parameters());
  worker->buffers_ = worker->model_->buffers();
  FEDLB_ASSIGN_OR_RETURN(
      worker->optimizer_,
      environment.registry->Create<Optimizer>(config.components.at("optimizer"),
                                              environment.context));
  if (config.mapper_use.scope == "client") {
    FEDLB_ASSIGN_OR_RETURN(
        worker->mapper_,
        environment.registry->Create<GradientMapper>(
            config.components.at("gradient_mapper"), environment.context));
    FEDLB_RETURN_IF_ERROR(
        worker->mapper_->Prepare(worker->model_->parameter_layout()));
    worker->mapper_needs_partial_means_ = worker->mapper_->NeedsPartialMeans();
  }
  return worker;
}

absl::Status LocalClientWorker::LoadTask(const RoundTask& task) {
  FEDLB_RETURN_IF_ERROR(Annotate(
      CheckLayout(model_->parameter_layout(), task.weights), "task's weights"));
  FEDLB_RETURN_IF_ERROR(Annotate(
      CheckLayout(model_->buffer_layout(), task.buffers), "task's buffers"));
  Copy(task.weights, weights_);
  Copy(task.buffers, buffers_);
  if (mapper_ != nullptr) {
    // Also an empty one: it takes back what the client before changed.
    FEDLB_RETURN_IF_ERROR(
        Annotate(mapper_->LoadState(
                     ExtractState("gradient_mapper", task.aux, task.scalars)),
                 "gradient mapper's snapshot"));
  }
  return absl::OkStatus();
}

absl::Status LocalClientWorker::LoadOwnWeights(const RoundTask& task,
                                               const ClientState& state) {
  const auto own = state.parts.find(kOwnWeights);
  if (task.work.base_round < 0 || own == state.parts.end() ||
      own->second.scalars.at(kBaseRound) !=
          static_cast<double>(task.work.base_round)) {
    return absl::OkStatus();
  }
  const TensorList& weights = own->second.tensors.at(kParametersGroup);
  const TensorList& buffers = own->second.tensors.at(kBuffersGroup);
  FEDLB_RETURN_IF_ERROR(Annotate(
      CheckLayout(model_->parameter_layout(), weights), "client's weights"));
  FEDLB_RETURN_IF_ERROR(Annotate(CheckLayout(model_->buffer_layout(), buffers),
                                 "client's buffers"));
  Copy(weights, weights_);
  Copy(buffers, buffers_);
  return absl::OkStatus();
}

// What a client does in a round:
//
//   w <- the round's weights, or the client's own where the task says so
//   repeat for every local step (once when a gradient is asked for):
//     g <- mean gradient over the next batch, taken in micro-batches
//     feed the critical-phase detector when it watches clients
//     g <- client algorithm's adjustment (a proximal term, control variates)
//     g <- gradient mapper, when its scope is client
//     w <- optimizer step with g                        (local steps only)
//   answer g, or w minus the round's weights
//
// Everything a client remembers is in `state`; the worker keeps nothing of it.
absl::StatusOr<Update> LocalClientWorker::Run(
    const RoundTask& task, const ClientAssignment& assignment,
    ClientState& state) {
  if (task.work.kind == RoundWork::Kind::kDisplacement) {
    return TakeDisplacement(task, assignment, state);
  }
  const ExperimentConfig& config = *environment_.config;
  const int64_t client = assignment.client;
  const auto& examples = (*environment_.partition)[static_cast<size_t>(client)];
  const ClientBatches batches(environment_.context.seed, client, examples,
                              assignment.batch_size);
  const int64_t micro_batch_size =
      config.batch_use.micro_batch_size > 0
          ? std::min(config.batch_use.micro_batch_size, assignment.batch_size)
          : assignment.batch_size;
  const bool wants_gradient = task.work.kind == RoundWork::Kind::kGradient;

  FEDLB_RETURN_IF_ERROR(LoadTask(task));
  model_->SetTraining(true);
  const bool keeps_buffers =
      !buffers_.empty() && config.execution.buffers == "local";
  if (const auto kept = state.parts.find("buffers");
      keeps_buffers && kept != state.parts.end()) {
    Copy(kept->second.tensors.at("buffers"), buffers_);
  }
  FEDLB_RETURN_IF_ERROR(LoadOwnWeights(task, state));

  const int64_t num_steps = LocalStepsOf(task.work, batches);
  if (!wants_gradient) {
    optimizer_->Reset();
    const auto kept = state.parts.find("optimizer");
    if (kept != state.parts.end()) {
      FEDLB_RETURN_IF_ERROR(optimizer_->LoadState(kept->second));
    }
  }
  std::optional<CriticalPhaseDetector> detector;
  if (config.critical_phase.scope == "client") {
    detector.emplace(config.critical_phase, 1);
    const auto kept = state.parts.find("critical_phase");
    if (kept != state.parts.end()) {
      FEDLB_RETURN_IF_ERROR(detector->LoadState(kept->second));
    }
  }

  Update update;
  update.kind = wants_gradient ? Update::Kind::kGradient : Update::Kind::kDelta;
  update.round = task.round;
  update.client = client;
  update.local_steps = num_steps;
  StepAverages averages;
  TensorList gradient;
  for (int64_t step = 0; step < num_steps; ++step) {
    if (environment_.stop != nullptr && *environment_.stop != 0) {
      return InterruptedError("stopped while clients were training");
    }
    model_->SeedForward(HashKey({.seed = environment_.context.seed,
                                 .purpose = "forward",
                                 .round = task.round,
                                 .client = client,
                                 .step = step}));
    StepContext context;
    context.epoch = static_cast<double>(state.epoch) +
                    static_cast<double>(state.cursor) /
                        static_cast<double>(examples.size());
    Stopwatch step_watch;
    RandomKey epoch_key;
    const std::vector<int64_t> indices = batches.Next(state, &epoch_key);
    gradient.clear();  // no two of them at a time
    FEDLB_ASSIGN_OR_RETURN(GradientStep taken,
                           TakeGradient(indices, epoch_key, micro_batch_size));
    if (!std::isfinite(taken.loss)) {
      return DivergedError(absl::StrFormat(
          "the loss of client %d is not finite at round %d, local step %d, "
          "lr %g; lower the learning rate, set optimizer.clip_norm or warm up",
          client, task.round, step, task.lr));
    }
    gradient = std::move(taken.gradient);
    const auto weight = static_cast<double>(taken.examples);
    averages.Add("train_loss", taken.loss, weight);
    averages.Add("train_accuracy", static_cast<double>(taken.correct) / weight,
                 weight);
    update.num_samples += taken.examples;

    if (detector.has_value()) {
      detector->Observe(gradient);
      if (detector->has_change()) {
        averages.Add("gradient_change", detector->gradient_change());
      }
      averages.Add("critical", detector->critical() ? 1 : 0);
    }
    FEDLB_RETURN_IF_ERROR(Annotate(
        environment_.algorithm->AdjustGradient(task, state, weights_, gradient),
        "client algorithm"));
    if (mapper_ != nullptr) {
      if (mapper_->LearnsFromAggregate()) {
        // The server's copy of the mapper learns from it.
        TensorList& unmapped = update.groups[kUnmappedGradientGroup];
        if (unmapped.empty()) {
          unmapped = ZerosLike(gradient);
        }
        AddScaled(gradient, 1.0 / static_cast<double>(num_steps), unmapped);
      }
      context.step = static_cast<int64_t>(task.scalars.at("step")) + step;
      context.round = task.round;
      context.client = client;
      context.lr = task.lr;
      context.batch_size = taken.examples;
      context.critical = detector.has_value()
                             ? detector->critical()
                             : task.scalars.at("critical") != 0;
      context.gradient_change = detector.has_value()
                                    ? detector->gradient_change()
                                    : task.scalars.at("gradient_change");
      context.partial_means = std::move(taken.partial_means);
      context.may_learn = false;
      FEDLB_RETURN_IF_ERROR(mapper_->Map(context, gradient));
      for (const auto& [name, value] : mapper_->Report()) {
        averages.Add(absl::StrCat("mapper.", name), value);
      }
    }
    if (!wants_gradient) {
      const MemoryTagScope tag(MemoryTag::kOptimizer);
      Stopwatch watch;
      FEDLB_RETURN_IF_ERROR(optimizer_->Step(gradient, task.lr, weights_));
      averages.Add("optimizer_seconds", watch.Lap());
    }
    averages.Add("data_seconds", taken.data_seconds);
    averages.Add("forward_seconds", taken.forward_seconds);
    averages.Add("backward_seconds", taken.backward_seconds);
    averages.Add("step_seconds", step_watch.Lap());
  }

  if (wants_gradient) {
    update.num_examples = update.num_samples;
    update.groups[kParametersGroup] = std::move(gradient);
  } else {
    update.num_examples = static_cast<int64_t>(examples.size());
    TensorList delta = Clone(weights_);
    AddScaled(task.weights, -1, delta);
    update.groups[kParametersGroup] = std::move(delta);
    if (config.optimizer_use.keep_state) {
      ComponentState kept = optimizer_->SaveState();
      for (auto& [name, tensors] : kept.tensors) {
        tensors = Clone(tensors);
      }
      state.parts["optimizer"] = std::move(kept);
    }
  }
  if (detector.has_value()) {
    state.parts["critical_phase"] = detector->SaveState();
  }
  if (task.work.base_round >= 0) {
    state.parts[kOwnWeights] = {
        .tensors = {{kParametersGroup, Clone(weights_)},
                    {kBuffersGroup, Clone(buffers_)}},
        .scalars = {{kBaseRound, static_cast<double>(task.work.base_round)}}};
    const double change = detector.has_value() && detector->has_change()
                              ? detector->gradient_change()
                              : std::numeric_limits<double>::quiet_NaN();
    update.scalars[kSyncVote] = environment_.sync_policy->Votes(change) ? 1 : 0;
  }
  if (!buffers_.empty()) {
    // The server evaluates with their mean, whoever trains with them.
    update.groups[kBuffersGroup] = Clone(buffers_);
  }
  if (keeps_buffers) {
    state.parts["buffers"].tensors["buffers"] = Clone(buffers_);
  }
  averages.WriteTo(update.scalars);
  if (!detector.has_value()) {
    // For compressors that heed it.
    update.scalars["critical"] = task.scalars.at("critical");
  }
  FEDLB_RETURN_IF_ERROR(Annotate(
      environment_.algorithm->AddToUpdate(task, weights_, update, state),
      "client algorithm"));
  // Only error feedback leaves something to remember.
  ComponentState residual;
  const auto kept_residual = state.parts.find("compressor");
  if (kept_residual != state.parts.end()) {
    residual = kept_residual->second;
  }
  FEDLB_RETURN_IF_ERROR(environment_.compressor->Compress(update, residual));
  if (!residual.empty()) {
    state.parts["compressor"] = std::move(residual);
  }
  return update;
}

absl::StatusOr<LocalClientWorker::GradientStep> LocalClientWorker::TakeGradient(
    absl::Span<const int64_t> indices, const RandomKey& epoch_key,
    int64_t micro_batch_size) {
  const TensorList& parameters = model_->parameters();
  // Undefined gradients let the first backward pass hand its result over
  // instead of adding it to zeros.
  for (const at::Tensor& parameter : parameters) {
    parameter.mutable_grad() = at::Tensor();
  }
  const auto count = static_cast<int64_t>(indices.size());
  GradientStep result;
  result.examples = count;
  for (int64_t begin = 0; begin < count; begin += micro_batch_size) {
    const auto part = indices.subspan(static_cast<size_t>(begin),
                                      static_cast<size_t>(micro_batch_size));
    const double share =
        static_cast<double>(part.size()) / static_cast<double>(count);
    Stopwatch watch;
    FEDLB_ASSIGN_OR_RETURN(
        Batch batch,
        environment_.dataset->Load(Split::kTrain, part, &epoch_key));
    FEDLB_RETURN_IF_ERROR(Annotate(
        environment_.algorithm->AdjustTargets(epoch_key.client,
                                              environment_.context.num_classes,
                                              batch.targets),
        "client algorithm"));
    result.data_seconds += watch.Lap();
    const MemoryTagScope tag(MemoryTag::kActivations);
    const Bf16Autocast autocast(environment_.config->run.precision == "bf16");
    FEDLB_ASSIGN_OR_RETURN(const at::Tensor logits,
                           model_->Forward(batch.inputs));
    FEDLB_ASSIGN_OR_RETURN(at::Tensor loss,
                           model_->Loss(logits, batch.targets));
    result.loss += share * loss.item<double>();
    result.correct += CountCorrect(logits.detach(), batch.targets);
    result.forward_seconds += watch.Lap();
    FEDLB_RETURN_IF_ERROR(CatchAsStatus("backward pass", [&] {
      if (part.size() != indices.size()) {
        loss = loss.mul(share);
      }
      loss.backward();
      return absl::OkStatus();
    }));
    result.backward_seconds += watch.Lap();
    if (mapper_needs_partial_means_) {
      TensorList mean;
      for (const at::Tensor& parameter : parameters) {
        mean.push_back(parameter.grad().div(share));
        parameter.mutable_grad() = at::Tensor();
      }
      if (result.gradient.empty()) {
        result.gradient = ZerosLike(mean);
      }
      AddScaled(mean, share, result.gradient);
      result.partial_means.push_back(std::move(mean));
    }
  }
  if (!mapper_needs_partial_means_) {
    for (size_t i = 0; i < parameters.size(); ++i) {
      at::Tensor& gradient = parameters[i].mutable_grad();
      if (!gradient.defined()) {
        return absl::InternalError(
            absl::StrCat("parameter ", model_->parameter_layout()[i].name,
                         " takes no part in the loss"));
      }
      TagTensorMemory(gradient, MemoryTag::kGradients);
      result.gradient.push_back(std::exchange(gradient, at::Tensor()));
    }
  }
  return result;
}

absl::StatusOr<EvaluationSums> LocalClientWorker::Evaluate(
    const TensorList& weights, const TensorList& buffers, Split split,
    absl::Span<const int64_t> indices) {
  Copy(weights, weights_);
  Copy(buffers, buffers_);
  model_->SetTraining(false);
  FEDLB_ASSIGN_OR_RETURN(const Batch batch,
                         environment_.dataset->Load(split, indices, nullptr));
  const at::NoGradGuard no_grad;
  const MemoryTagScope tag(MemoryTag::kActivations);
  const Bf16Autocast autocast(environment_.config->run.precision == "bf16");
  FEDLB_ASSIGN_OR_RETURN(const at::Tensor logits,
                         model_->Forward(batch.inputs));
  FEDLB_ASSIGN_OR_RETURN(const at::Tensor loss,
                         model_->Loss(logits, batch.targets));
  EvaluationSums sums;
  sums.examples = static_cast<int64_t>(indices.size());
  sums.loss = loss.item<double>() * static_cast<double>(sums.examples);
  const at::Tensor hits = logits.argmax(1).eq(batch.targets);
  sums.correct = hits.sum().item<int64_t>();
  const int64_t classes = logits.size(1);
  sums.class_examples = CountByClass(batch.targets, classes);
  sums.class_correct = CountByClass(batch.targets.masked_select(hits), classes);
  const int64_t top = std::min<int64_t>(5, logits.size(1));
  const at::Tensor best = std::get<1>(logits.topk(top, 1));
  sums.correct_top5 =
      best.eq(batch.targets.unsqueeze(1)).any(1).sum().item<int64_t>();
  return sums;
}

}  // namespace fedlb
