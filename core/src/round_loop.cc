#include "round_loop.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "evaluation.h"
#include "fedlb/memory.h"
#include "fedlb/status.h"
#include "fedlb/update_sink.h"
#include "state_bundle.h"

namespace fedlb {

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
//     algorithm broadcasts, and a snapshot of a client-scope mapper.
//  3. The transport has every client do the task (LocalClientWorker::Run tells
//     what that is) and hands the updates to the sink. The sink's gate drops
//     bad ones, and what passes is added in the order of the cohort, whoever
//     came first: that is why the number of workers changes no bit.
//  4. The aggregate, a mean gradient or a mean delta, feeds the critical-phase
//     detector as it is; then the client algorithm's server half may change it.
//  5. It becomes a gradient (a delta is turned around: the pseudo-gradient is
//     minus the mean delta), passes a server-scope mapper, and the optimizer
//     takes its step: [optimizer] for gradients, [server_optimizer] for deltas.
//  6. Clients' states are committed, and the round is evaluated, logged and
//     checkpointed.
//
// Nothing of the run's state changes before step 4 has begun, so that a round
// that fails or is interrupted leaves the state of the round before.

RoundLoop::RoundLoop(Federation& federation, RunState& state,
                     RunDirectory& directory, const TrainOptions& options)
    : federation_(federation),
      state_(state),
      directory_(directory),
      options_(options) {
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  test_ = validation_ = {kNone, kNone, kNone, 0};
  if (state.next_round > 0) {
    checkpointed_round_ = state.next_round;
  }
}

absl::Status RoundLoop::Run() {
  const ExperimentConfig& config = federation_.config;
  const int64_t rounds = config.run.rounds;
  while (state_.next_round < rounds) {
    ScalarMap metrics;
    absl::Status status =
        StopRequested() ? InterruptedError("stopped") : RunRound(metrics);
    if (FailureOf(status) == Failure::kInterrupted) {
      FEDLB_RETURN_IF_ERROR(Checkpoint());
      return InterruptedError(absl::StrCat(
          "stopped after round ", state_.next_round, " of ", rounds,
          "; go on with: fedlb train --resume ", directory_.path()));
    }
    FEDLB_RETURN_IF_ERROR(status);

    const bool last = state_.next_round == rounds;
    if (last || state_.next_round % config.evaluation.every_rounds == 0) {
      FEDLB_RETURN_IF_ERROR(EvaluateWeights(metrics));
    }
    Log(metrics);
    if (last || state_.next_round % config.checkpoint.every_rounds == 0) {
      const absl::Status saved = Checkpoint();
      if (!saved.ok() && last) {
        return saved;
      }
      if (!saved.ok()) {
        // The older checkpoints are whole, and there may be room again later.
        federation_.logger->Warning(
            absl::StrCat("training goes on without a checkpoint of round ",
                         state_.next_round, ": ", saved.message()));
      }
    }
    ReportProgress();
  }
  if (rounds_here_ == 0) {
    ScalarMap unused;  // resumed after the last round
    FEDLB_RETURN_IF_ERROR(EvaluateWeights(unused));
  }
  return absl::OkStatus();
}

absl::Status RoundLoop::RunRound(ScalarMap& metrics) {
  Federation& f = federation_;
  const int64_t round = state_.next_round;
  const absl::Time start = absl::Now();

  FEDLB_ASSIGN_OR_RETURN(const std::vector<ClientAssignment> cohort,
                         f.Cohort(round));
  RoundTask task;
  task.round = round;
  task.work = f.sync_policy->Plan(round);
  const bool gradient_round = task.work.kind == RoundWork::Kind::kGradient;
  task.lr = f.optimizer->base_lr() *
            f.lr_schedule->Factor(round, f.config.run.rounds);
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

  std::vector<int64_t> clients;
  clients.reserve(cohort.size());
  for (const ClientAssignment& assignment : cohort) {
    clients.push_back(assignment.client);
  }
  PartialMeans partial_means;
  std::vector<UpdateObserver*> observers;
  if (f.maps_on_server() && f.gradient_mapper->NeedsPartialMeans()) {
    observers.push_back(&partial_means);
  }
  UpdateSink sink(task, std::move(clients), f.model->parameter_layout(),
                  f.model->buffer_layout(), f.config.update_gate,
                  /*window=*/2 * f.transport->concurrency(), *f.compressor,
                  *f.aggregator, std::move(observers));
  absl::Cleanup rollback = [&f] { f.host->states().Rollback(); };
  FEDLB_RETURN_IF_ERROR(f.transport->RunRound(task, cohort, sink));
  FEDLB_ASSIGN_OR_RETURN(RoundResult result, sink.Finish());
  FEDLB_RETURN_IF_ERROR(CheckSurvivors(result));

  metrics = result.scalar_means;
  FEDLB_RETURN_IF_ERROR(ApplyAggregate(task, result, partial_means, metrics));
  std::move(rollback).Cancel();
  f.host->states().Commit();

  const double seconds = absl::ToDoubleSeconds(absl::Now() - start);
  ++state_.next_round;
  state_.steps += gradient_round ? 1 : result.local_steps;
  state_.steps_per_client += result.max_local_steps;
  state_.samples += result.num_samples;
  state_.seconds += seconds;
  state_.dropped_updates += static_cast<int64_t>(result.dropped.size());
  state_.train_loss = metrics["train_loss"];
  seconds_here_ += seconds;
  samples_here_ += result.num_samples;
  ++rounds_here_;
  metrics["lr"] = task.lr;
  metrics["survivors"] = static_cast<double>(result.num_survivors);
  metrics["dropped"] = static_cast<double>(result.dropped.size());
  metrics["round_seconds"] = seconds;
  return Annotate(f.batch_policy->ObserveRound(round, metrics), "batch policy");
}

absl::Status RoundLoop::ApplyAggregate(const RoundTask& task,
                                       RoundResult& result,
                                       const PartialMeans& partial_means,
                                       ScalarMap& metrics) {
  Federation& f = federation_;
  const bool gradient_round = task.work.kind == RoundWork::Kind::kGradient;
  TensorList& aggregate = result.aggregate;

  if (f.config.critical_phase.scope == "server") {
    state_.detector.Observe(aggregate);
    metrics["gradient_change"] = state_.detector.gradient_change();
    metrics["critical"] = state_.detector.critical() ? 1 : 0;
  }
  state_.gradient_changes.push_back(metrics["gradient_change"]);

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
  StepContext context;
  context.step = state_.next_round;
  context.round = task.round;
  int64_t train_examples = 0;
  for (const int64_t count : f.num_examples) {
    train_examples += count;
  }
  context.epoch =
      static_cast<double>(state_.samples) / static_cast<double>(train_examples);
  context.lr = lr;
  context.batch_size = result.num_samples;
  // A share of clients and steps when the detector watches clients.
  context.critical = metrics["critical"] >= 0.5;
  context.gradient_change = metrics["gradient_change"];
  if (f.maps_on_server()) {
    if (f.gradient_mapper->NeedsPartialMeans()) {
      context.partial_means = partial_means.Means();
      if (!gradient_round) {
        for (TensorList& mean : context.partial_means) {
          Scale(-1, mean);
        }
      }
    }
    FEDLB_RETURN_IF_ERROR(f.gradient_mapper->Map(context, aggregate));
    for (const auto& [name, value] : f.gradient_mapper->Report()) {
      metrics[absl::StrCat("mapper.", name)] = value;
    }
  } else {
    FEDLB_RETURN_IF_ERROR(
        f.gradient_mapper->ObserveAggregate(context, aggregate));
  }
  for (const auto& [name, value] : metrics) {
    if (name.rfind("mapper.", 0) == 0) {
      state_.mapper_sums[name.substr(7)] += value;
    }
  }
  ++state_.mapper_reports;

  {
    const MemoryTagScope tag(MemoryTag::kOptimizer);
    FEDLB_RETURN_IF_ERROR(optimizer.Step(aggregate, lr, state_.weights));
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

absl::Status RoundLoop::CheckSurvivors(const RoundResult& result) const {
  for (const auto& [client, cause] : result.dropped) {
    federation_.logger->Warning(absl::StrCat("round ", state_.next_round,
                                             ": client ", client,
                                             " dropped: ", cause.message()));
  }
  const int64_t needed =
      std::max<int64_t>(1, federation_.config.federation.min_cohort);
  if (result.num_survivors >= needed) {
    return absl::OkStatus();
  }
  for (const auto& [client, cause] : result.dropped) {
    if (FailureOf(cause) == Failure::kDiverged) {
      return cause;
    }
  }
  return DeadlineError(absl::StrCat(
      "round ", state_.next_round, ": ", result.num_survivors, " of ",
      result.num_survivors + static_cast<int64_t>(result.dropped.size()),
      " updates were usable and federation.min_cohort asks for ", needed,
      result.dropped.empty()
          ? ""
          : absl::StrCat("; first cause: ",
                         result.dropped.front().second.message())));
}

absl::Status RoundLoop::EvaluateWeights(ScalarMap& metrics) {
  Federation& f = federation_;
  const int64_t chunk = f.config.evaluation.batch_size;
  FEDLB_ASSIGN_OR_RETURN(
      test_, Evaluate(*f.host, state_.weights, state_.buffers, Split::kTest,
                      f.test, chunk));
  if (test_.num_examples > 0 && !std::isfinite(test_.loss)) {
    return DivergedError(absl::StrFormat(
        "the test loss is not finite after round %d (lr %g); lower the "
        "learning rate, set optimizer.clip_norm or warm up",
        state_.next_round, metrics["lr"]));
  }
  metrics["test_loss"] = test_.loss;
  metrics["test_accuracy"] = test_.accuracy;
  metrics["test_accuracy_top5"] = test_.accuracy_top5;
  if (!f.validation.empty()) {
    FEDLB_ASSIGN_OR_RETURN(validation_,
                           Evaluate(*f.host, state_.weights, state_.buffers,
                                    Split::kTrain, f.validation, chunk));
    metrics["validation_loss"] = validation_.loss;
    metrics["validation_accuracy"] = validation_.accuracy;
    metrics["validation_accuracy_top5"] = validation_.accuracy_top5;
  }
  return absl::OkStatus();
}

absl::Status RoundLoop::Checkpoint() {
  if (checkpointed_round_ == state_.next_round) {
    return absl::OkStatus();
  }
  FEDLB_ASSIGN_OR_RETURN(state_.metrics_length, directory_.SyncMetrics());
  FEDLB_ASSIGN_OR_RETURN(const StoredCheckpoint checkpoint,
                         MakeCheckpoint(state_, federation_));
  FEDLB_RETURN_IF_ERROR(directory_.SaveCheckpoint(
      checkpoint, federation_.config.checkpoint.keep));
  checkpointed_round_ = state_.next_round;
  return absl::OkStatus();
}

void RoundLoop::Log(const ScalarMap& metrics) {
  nlohmann::ordered_json line = {{"type", "round"},
                                 {"round", state_.next_round},
                                 {"rounds", federation_.config.run.rounds},
                                 {"steps", state_.steps},
                                 {"samples", state_.samples},
                                 {"seconds", state_.seconds}};
  for (const auto& [name, value] : metrics) {
    // nlohmann writes null for what is not finite.
    line[name] = value;
  }
  const std::string text = line.dump();
  federation_.logger->Log(LogLevel::kDebug, text);
  const absl::Status status = directory_.AppendMetrics(text);
  if (!status.ok()) {
    federation_.logger->Warning(absl::StrCat("metrics of round ",
                                             state_.next_round,
                                             " are lost: ", status.message()));
  }
}

void RoundLoop::ReportProgress() {
  if (!options_.on_progress) {
    return;
  }
  const int64_t rounds = federation_.config.run.rounds;
  RoundProgress progress;
  progress.round = state_.next_round;
  progress.rounds = rounds;
  progress.train_loss = state_.train_loss;
  progress.test_accuracy = test_.accuracy;
  progress.samples_per_second =
      static_cast<double>(samples_here_) / seconds_here_;
  progress.seconds = seconds_here_;
  progress.eta_seconds = seconds_here_ / static_cast<double>(rounds_here_) *
                         static_cast<double>(rounds - state_.next_round);
  options_.on_progress(progress);
}

bool RoundLoop::StopRequested() const {
  return options_.stop != nullptr && *options_.stop != 0;
}

}  // namespace fedlb
