#include "round_runner.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "fedlb/memory.h"
#include "fedlb/random.h"
#include "fedlb/status.h"
#include "state_bundle.h"
#include "stopwatch.h"

namespace fedlb {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

// Of the power iteration for the curvature, as in ABSA's published code; and
// how far it looks, in relation to the norm of the weights.
constexpr int kPowerIterations = 10;
constexpr double kPowerTolerance = 1e-2;
constexpr double kCurvatureStep = 1e-3;

// Who took how long.
class TimingObserver final : public UpdateObserver {
 public:
  // `simulated` by slot, or empty.
  explicit TimingObserver(std::vector<double> simulated)
      : simulated_(std::move(simulated)) {}

  void Begin(const TensorLayout& /*layout*/) override {}
  void Add(int64_t slot, const Update& update) override {
    const auto measured = update.scalars.find("step_seconds");
    const double seconds =
        !simulated_.empty() ? simulated_[static_cast<size_t>(slot)]
        : measured != update.scalars.end()
            ? measured->second * static_cast<double>(update.local_steps)
            : 0;
    timings_.push_back({update.client, update.num_samples, seconds});
  }
  const std::vector<ClientTiming>& timings() const { return timings_; }

 private:
  const std::vector<double> simulated_;
  std::vector<ClientTiming> timings_;
};

}  // namespace

// A round
// -------
//
//   sampler ──► cohort ──► task ──► transport ══► clients
//                                       ║
//   weights ◄── optimizer ◄── mapper ◄── algorithm ◄── aggregator ◄── sink
//
//  1. The sampler chooses the cohort and the batch policy each client's batch
//     size; the sync policy says how much work a client does: one gradient
//     (BSP), or optimizer steps of its own (FedAvg).
//  2. The task carries weights, work and learning rate, what the client
//     algorithm broadcasts, and a snapshot of a client-scope mapper. On the
//     clock of [simulation] some clients drop out or miss the deadline; they
//     are left out here.
//  3. The transport has every client do the task (LocalClientWorker::Run tells
//     what that is) and hands the updates to the sink. The sink's gate drops
//     bad ones, and what passes is added in the order of the cohort, whoever
//     came first: that is why the number of workers changes no bit.
//  4. Where clients keep weights of their own, the sync policy decides whether
//     the round ends here, without a change of the server's weights.
//     Otherwise the aggregate, a mean gradient or a mean delta, feeds the
//     critical-phase detector as it is; then the client algorithm's server half
//     may change it.
//  5. It becomes a gradient (a delta is turned around: the pseudo-gradient is
//     minus the mean delta), passes a server-scope mapper, and the optimizer
//     takes its step: [optimizer] for gradients, [server_optimizer] for deltas.
//  6. The states of clients whose updates counted are committed, and the round
//     is evaluated, logged and checkpointed.
//
// A server-scope mapper may first ask a client for a pair to learn from
// (CollectDisplacement).
//
// Nothing of the run's state changes before step 4 has begun, so that a round
// that fails or is interrupted leaves the state of the round before.

RoundRunner::RoundRunner(Federation& federation, RunState& state)
    : federation_(federation), state_(state) {}

absl::StatusOr<ScalarMap> RoundRunner::Run() {
  const int64_t round = state_.next_round;
  FEDLB_ASSIGN_OR_RETURN(std::vector<ClientAssignment> cohort,
                         federation_.Cohort(round));
  return Run(federation_.sync_policy->Plan(round), std::move(cohort));
}

absl::StatusOr<ScalarMap> RoundRunner::Run(
    const RoundWork& work, std::vector<ClientAssignment> cohort) {
  Federation& f = federation_;
  const int64_t round = state_.next_round;
  const absl::Time start = absl::Now();

  RoundTask task;
  task.round = round;
  task.work = work;
  const bool gradient_round = task.work.kind == RoundWork::Kind::kGradient;
  task.lr = f.LearningRate(round, task.work, cohort);
  task.weights = state_.weights;
  task.buffers = state_.buffers;
  task.scalars = {{"step", static_cast<double>(state_.steps_per_client)},
                  {"critical", state_.detector.critical() ? 1 : 0},
                  {"gradient_change", state_.detector.gradient_change()}};
  if (!f.maps_on_server()) {
    AddState("gradient_mapper", f.gradient_mapper->SaveState(), task.aux,
             task.scalars);
  }
  FEDLB_RETURN_IF_ERROR(
      Annotate(f.client_algorithm->PrepareTask(task), "client algorithm"));

  FEDLB_ASSIGN_OR_RETURN(const std::optional<CollectedPair> pair,
                         CollectDisplacement(task, cohort));
  ScalarMap beforehand;
  if (f.batch_policy->WantsCurvature(round)) {
    FEDLB_ASSIGN_OR_RETURN(const std::optional<double> curvature,
                           EstimateCurvature(task, cohort));
    beforehand["curvature"] = curvature.value_or(kNone);
  }
  FEDLB_ASSIGN_OR_RETURN(const SimulatedRound played,
                         Simulate(task, cohort, beforehand));
  cohort = played.answering;
  std::vector<int64_t> clients;
  clients.reserve(cohort.size());
  for (const ClientAssignment& assignment : cohort) {
    clients.push_back(assignment.client);
  }
  PartialMeans partial_means(f.maps_on_server() ? kParametersGroup
                                                : kUnmappedGradientGroup);
  TimingObserver timing(played.client_seconds);
  std::vector<UpdateObserver*> observers = {&timing};
  const bool reads_updates = f.maps_on_server()
                                 ? f.gradient_mapper->NeedsPartialMeans()
                                 : f.gradient_mapper->LearnsFromAggregate();
  if (reads_updates) {
    observers.push_back(&partial_means);
  }
  NoiseObserver noise;
  if (gradient_round) {
    observers.push_back(&noise);
  }
  observers.insert(observers.end(), extra_observers_.begin(),
                   extra_observers_.end());
  UpdateSink sink(task, std::move(clients), f.model->parameter_layout(),
                  f.model->buffer_layout(), f.config.update_gate,
                  /*window=*/2 * f.transport->concurrency(), *f.compressor,
                  *f.aggregator, std::move(observers));
  absl::Cleanup rollback = [&f] { f.host->states().Rollback(); };
  FEDLB_RETURN_IF_ERROR(f.transport->RunRound(task, cohort, sink));
  if (f.remote != nullptr) {
    f.remote->DeliverLate(round, sink);
  }
  FEDLB_ASSIGN_OR_RETURN(RoundResult result, sink.Finish());
  const absl::Time answered = absl::Now();
  FEDLB_RETURN_IF_ERROR(CheckSurvivors(result, played.absent));

  ScalarMap metrics = result.scalar_means;
  for (const auto& [name, value] : beforehand) {
    metrics[name] = value;  // whatever clients called theirs
  }
  FEDLB_ASSIGN_OR_RETURN(const bool applied, CloseRound(task, metrics));
  if (applied) {
    RecordNoise(noise, result.aggregate, metrics);
    FEDLB_RETURN_IF_ERROR(
        ApplyAggregate(task, result, partial_means, pair, metrics));
  }
  RecordMapper(metrics);
  for (const auto& [name, value] : f.aggregator->Report()) {
    metrics[absl::StrCat("aggregator.", name)] = value;
  }
  std::move(rollback).Cancel();
  for (const auto& [client, cause] : result.dropped) {
    // What it remembers must not run ahead of what the server knows of it.
    f.host->states().Discard(client);
  }
  f.host->states().Commit();
  if (f.remote != nullptr) {
    std::vector<int64_t> counted;
    for (const ClientTiming& client : timing.timings()) {
      counted.push_back(client.client);
    }
    f.remote->RoundApplied(round, counted);
    metrics["late"] = static_cast<double>(result.num_late);
    for (const auto& [name, value] : f.remote->Report()) {
      metrics[absl::StrCat("transport.", name)] = value;
    }
  }

  const absl::Time end = absl::Now();
  const double seconds = absl::ToDoubleSeconds(end - start);
  ++state_.next_round;
  state_.steps += gradient_round ? 1 : result.local_steps;
  state_.steps_per_client += result.max_local_steps;
  state_.samples += result.num_samples;
  state_.seconds += seconds;
  state_.virtual_seconds += played.seconds;
  state_.dropped_updates +=
      static_cast<int64_t>(result.dropped.size() + played.absent.size());
  state_.train_loss = metrics["train_loss"];
  metrics["lr"] = task.lr;
  metrics["survivors"] = static_cast<double>(result.num_survivors);
  metrics["dropped"] =
      static_cast<double>(result.dropped.size() + played.absent.size());
  metrics["round_seconds"] = seconds;
  // What a profile calls a step: the gradient of one batch with the server's
  // part of the round, or a local step.
  metrics["batch_examples"] =
      static_cast<double>(result.num_samples) /
      static_cast<double>(gradient_round ? result.num_survivors
                                         : result.local_steps);
  metrics["batch_seconds"] =
      gradient_round
          ? seconds / std::ceil(static_cast<double>(cohort.size()) /
                                static_cast<double>(f.transport->concurrency()))
          : metrics["step_seconds"];
  metrics["server_seconds"] = absl::ToDoubleSeconds(end - answered);
  for (const ClientTiming& client : timing.timings()) {
    f.batch_policy->ObserveClient(client);
  }
  FEDLB_RETURN_IF_ERROR(
      Annotate(f.batch_policy->ObserveRound(round, metrics), "batch policy"));
  return metrics;
}

absl::StatusOr<SimulatedRound> RoundRunner::Simulate(
    const RoundTask& task, const std::vector<ClientAssignment>& cohort,
    ScalarMap& metrics) {
  Federation& f = federation_;
  std::vector<SimulatedClient> players;
  players.reserve(cohort.size());
  for (const ClientAssignment& assignment : cohort) {
    players.push_back({assignment, f.Samples(task.work, assignment)});
  }
  // What a round moves: the model there and back, and what methods add to it.
  int64_t bytes_down = NumBytes(task.weights) + NumBytes(task.buffers);
  for (const auto& [name, tensors] : task.aux) {
    bytes_down += NumBytes(tensors);
  }
  if (f.clock.has_clock() && !bytes_up_.has_value()) {
    FEDLB_ASSIGN_OR_RETURN(bytes_up_, f.UploadBytes());
  }
  SimulatedRound played =
      f.clock.Play(task.round, players, bytes_down, bytes_up_.value_or(0));
  if (f.clock.has_clock()) {
    metrics["virtual_seconds"] = state_.virtual_seconds + played.seconds;
  }
  return played;
}

absl::StatusOr<bool> RoundRunner::CloseRound(const RoundTask& task,
                                             ScalarMap& metrics) {
  if (task.work.base_round < 0) {
    return true;
  }
  FEDLB_ASSIGN_OR_RETURN(
      const bool applied,
      federation_.sync_policy->CloseRound(task.round, metrics[kSyncVote]));
  metrics["synchronised"] = applied ? 1 : 0;
  return applied;
}

// The noise of a round's gradients, for metrics and batch policies.
void RoundRunner::RecordNoise(const NoiseObserver& noise,
                              const TensorList& mean, ScalarMap& metrics) {
  // A robust aggregate is not the mean that the estimate asks for.
  if (noise.count() < 2 || !federation_.aggregator->LinearState().has_value()) {
    return;
  }
  state_.noise.Add(Sum(noise.Estimate(mean)));
  metrics["gradient_norm"] = std::sqrt(SquaredNorm(mean));
  metrics["client_gradient_norm"] = noise.Norm();
  metrics["noise_signal"] = state_.noise.signal();
  metrics["noise_variance"] = state_.noise.variance();
  metrics["noise_scale"] = state_.noise.noise_scale();
}

// Adds what the round's mapper and detector said to the run's summary.
void RoundRunner::RecordMapper(const ScalarMap& metrics) {
  const auto change = metrics.find("gradient_change");
  if (change != metrics.end() && std::isfinite(change->second)) {
    state_.gradient_changes.push_back(change->second);
  }
  for (const auto& [name, value] : metrics) {
    if (name.rfind("mapper.", 0) == 0) {
      state_.mapper_sums[name.substr(7)] += value;
    }
  }
  ++state_.mapper_reports;
}

StepContext RoundRunner::ContextOf(const RoundTask& task, double lr,
                                   int64_t batch_size) const {
  int64_t train_examples = 0;
  for (const int64_t count : federation_.num_examples) {
    train_examples += count;
  }
  StepContext context;
  context.step = state_.next_round;
  context.round = task.round;
  context.epoch =
      static_cast<double>(state_.samples) / static_cast<double>(train_examples);
  context.lr = lr;
  context.batch_size = batch_size;
  return context;
}

absl::StatusOr<std::optional<RoundRunner::CollectedPair>>
RoundRunner::CollectDisplacement(const RoundTask& task,
                                 const std::vector<ClientAssignment>& cohort) {
  Federation& f = federation_;
  if (!f.maps_on_server() || task.work.kind != RoundWork::Kind::kGradient) {
    return std::nullopt;
  }
  int64_t batch_size = 0;
  for (const ClientAssignment& assignment : cohort) {
    batch_size += f.Samples(task.work, assignment);
  }
  StepContext context = ContextOf(task, task.lr, batch_size);
  context.critical = state_.detector.critical();
  context.gradient_change = state_.detector.gradient_change();
  const std::optional<DisplacementRequest> request =
      f.gradient_mapper->WantsDisplacement(context);
  if (!request.has_value()) {
    return std::nullopt;
  }

  RandomStream random(
      {.seed = f.context.seed, .purpose = "displacement", .round = task.round});
  const int64_t client =
      cohort[static_cast<size_t>(random.Below(cohort.size()))].client;
  RoundTask pair_task;
  pair_task.round = task.round;
  pair_task.work = {.kind = RoundWork::Kind::kDisplacement,
                    .local_steps = request->small_steps,
                    .reorder = request->reorder};
  pair_task.lr = task.lr;
  pair_task.weights = task.weights;
  pair_task.buffers = task.buffers;
  FEDLB_ASSIGN_OR_RETURN(
      std::optional<RoundResult> answer,
      AskOneClient(pair_task, {client, request->small_batch_size}));
  if (!answer.has_value()) {
    return std::nullopt;
  }
  RoundResult& result = *answer;
  CollectedPair collected;
  collected.context = std::move(context);
  collected.context.batch_size = result.num_examples;
  collected.pair = {std::move(result.aggregate),
                    std::move(result.extra_means[kDisplacementGroup]),
                    std::move(result.extra_means[kReorderedGroup]),
                    request->small_steps};
  collected.num_samples = result.num_samples;
  return collected;
}

absl::StatusOr<std::optional<RoundResult>> RoundRunner::AskOneClient(
    const RoundTask& task, const ClientAssignment& assignment) {
  Federation& f = federation_;
  UpdateSink sink(task, {assignment.client}, f.model->parameter_layout(),
                  f.model->buffer_layout(), f.config.update_gate, /*window=*/1,
                  *f.compressor, *f.aggregator, {});
  // It leaves no trace in the client's state.
  absl::Cleanup rollback = [&f] { f.host->states().Rollback(); };
  FEDLB_RETURN_IF_ERROR(
      f.transport->RunRound(task, absl::MakeConstSpan(&assignment, 1), sink));
  FEDLB_ASSIGN_OR_RETURN(RoundResult result, sink.Finish());
  if (result.num_survivors == 0) {
    f.logger->Warning(absl::StrCat(
        "round ", task.round, ": client ", assignment.client,
        " did not answer: ", result.dropped.front().second.message()));
    return std::nullopt;
  }
  return result;
}

// H v is (g(w + h v) - g(w)) / h up to terms in h, for a unit vector v. The
// batch stays the same because the client's state does.
absl::StatusOr<std::optional<double>> RoundRunner::EstimateCurvature(
    const RoundTask& task, const std::vector<ClientAssignment>& cohort) {
  RandomStream random({.seed = federation_.context.seed,
                       .purpose = "curvature",
                       .round = task.round});
  const ClientAssignment& assignment =
      cohort[static_cast<size_t>(random.Below(cohort.size()))];
  RoundTask probe;
  probe.round = task.round;
  probe.work = {.kind = RoundWork::Kind::kGradient};
  probe.lr = task.lr;
  probe.buffers = task.buffers;
  probe.aux = task.aux;
  probe.scalars = task.scalars;
  probe.weights = task.weights;
  FEDLB_ASSIGN_OR_RETURN(std::optional<RoundResult> at_weights,
                         AskOneClient(probe, assignment));
  if (!at_weights.has_value()) {
    return std::nullopt;
  }
  // The gradient has a part in every direction of curvature; nothing random is
  // needed to begin with.
  TensorList direction = Clone(at_weights->aggregate);
  const double weight_norm = std::sqrt(SquaredNorm(task.weights));
  double eigenvalue = 0;
  for (int i = 0; i < kPowerIterations; ++i) {
    const double norm = std::sqrt(SquaredNorm(direction));
    if (!(norm > 0) || !std::isfinite(norm)) {
      return std::nullopt;
    }
    Scale(1 / norm, direction);
    const double step = kCurvatureStep * std::max(1.0, weight_norm);
    probe.weights = Clone(task.weights);
    AddScaled(direction, step, probe.weights);
    FEDLB_ASSIGN_OR_RETURN(std::optional<RoundResult> beside,
                           AskOneClient(probe, assignment));
    if (!beside.has_value()) {
      return std::nullopt;
    }
    TensorList product = std::move(beside->aggregate);
    AddScaled(at_weights->aggregate, -1, product);
    Scale(1 / step, product);
    const double before = eigenvalue;
    eigenvalue = Dot(direction, product);
    if (std::abs(eigenvalue - before) <=
        kPowerTolerance * std::abs(eigenvalue)) {
      break;
    }
    direction = std::move(product);
  }
  return eigenvalue;
}

absl::Status RoundRunner::ApplyAggregate(
    const RoundTask& task, RoundResult& result,
    const PartialMeans& partial_means, const std::optional<CollectedPair>& pair,
    ScalarMap& metrics) {
  Federation& f = federation_;
  const bool gradient_round = task.work.kind == RoundWork::Kind::kGradient;
  TensorList& aggregate = result.aggregate;

  if (f.config.critical_phase.scope == "server") {
    state_.detector.Observe(aggregate);
    metrics["gradient_change"] = state_.detector.has_change()
                                     ? state_.detector.gradient_change()
                                     : kNone;
    metrics["critical"] = state_.detector.critical() ? 1 : 0;
  }

  const RoundOutcome outcome = {.round = task.round,
                                .num_clients = f.config.federation.clients,
                                .num_survivors = result.num_survivors,
                                .group_means = &result.extra_means};
  FEDLB_RETURN_IF_ERROR(Annotate(
      f.client_algorithm->FinishRound(outcome, aggregate), "client algorithm"));
  if (!gradient_round) {
    Scale(-1, aggregate);
  }

  Optimizer& optimizer = gradient_round ? *f.optimizer : *f.server_optimizer;
  const double lr = gradient_round ? task.lr : optimizer.base_lr();
  StepContext context = ContextOf(task, lr, result.num_samples);
  // A share of clients and steps when the detector watches clients.
  context.critical = metrics["critical"] >= 0.5;
  const auto change = metrics.find("gradient_change");
  if (change != metrics.end() && std::isfinite(change->second)) {
    context.gradient_change = change->second;
  }
  if (pair.has_value()) {
    state_.samples += pair->num_samples;
    FEDLB_RETURN_IF_ERROR(
        f.gradient_mapper->ObserveDisplacement(pair->context, pair->pair));
  }
  if (!f.maps_on_server() || f.gradient_mapper->NeedsPartialMeans()) {
    context.partial_means = partial_means.Means();
    if (!gradient_round && f.maps_on_server()) {
      for (TensorList& mean : context.partial_means) {
        Scale(-1, mean);
      }
    }
  }
  if (f.maps_on_server()) {
    FEDLB_RETURN_IF_ERROR(f.gradient_mapper->Map(context, aggregate));
    for (const auto& [name, value] : f.gradient_mapper->Report()) {
      metrics[absl::StrCat("mapper.", name)] = value;
    }
  } else {
    FEDLB_RETURN_IF_ERROR(
        f.gradient_mapper->ObserveAggregate(context, aggregate));
  }

  {
    const MemoryTagScope tag(MemoryTag::kOptimizer);
    Stopwatch watch;
    FEDLB_RETURN_IF_ERROR(optimizer.Step(aggregate, lr, state_.weights));
    metrics[gradient_round ? "optimizer_seconds" : "server_optimizer_seconds"] =
        watch.Lap();
  }
  if (!std::isfinite(SquaredNorm(state_.weights))) {
    return DivergedError(absl::StrFormat(
        "the weights are not finite after round %d (lr %g); lower the learning "
        "rate, set optimizer.clip_norm or warm up",
        task.round, lr));
  }
  if (!result.buffers.empty()) {
    state_.buffers = std::move(result.buffers);
  }
  return absl::OkStatus();
}

absl::Status RoundRunner::CheckSurvivors(
    const RoundResult& result,
    const std::vector<std::pair<int64_t, absl::Status>>& absent) const {
  for (const auto& [client, cause] : result.dropped) {
    federation_.logger->Warning(absl::StrCat("round ", state_.next_round,
                                             ": client ", client,
                                             " dropped: ", cause.message()));
  }
  const int64_t min_cohort = federation_.config.federation.min_cohort;
  const int64_t needed =
      std::max(federation_.aggregator->min_updates(), min_cohort);
  if (result.num_survivors >= needed) {
    return absl::OkStatus();
  }
  for (const auto& [client, cause] : result.dropped) {
    if (FailureOf(cause) == Failure::kDiverged) {
      return cause;
    }
  }
  std::string first_cause;
  for (const auto* lost : {&result.dropped, &absent}) {
    if (first_cause.empty() && !lost->empty()) {
      first_cause = absl::StrCat("; first cause: client ", lost->front().first,
                                 ": ", lost->front().second.message());
    }
  }
  return DeadlineError(absl::StrCat(
      "round ", state_.next_round, ": ", result.num_survivors, " of ",
      result.num_survivors +
          static_cast<int64_t>(result.dropped.size() + absent.size()),
      " updates were usable and ",
      needed == min_cohort
          ? "federation.min_cohort"
          : absl::StrCat("aggregator ", federation_.NameOf("aggregator")),
      " asks for ", needed, first_cause));
}

}  // namespace fedlb
