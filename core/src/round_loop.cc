#include "round_loop.h"

#include <cmath>
#include <limits>
#include <utility>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "evaluation.h"
#include "event_file.h"
#include "fedlb/memory.h"
#include "fedlb/status.h"

namespace fedlb {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

}  // namespace

RoundLoop::RoundLoop(Federation& federation, RunState& state,
                     RunDirectory& directory, const TrainOptions& options,
                     ProfileCheck* profile_check)
    : federation_(federation),
      state_(state),
      directory_(directory),
      options_(options),
      profile_check_(profile_check),
      runner_(federation, state),
      first_round_(state.next_round),
      samples_before_(state.samples),
      seconds_before_(state.seconds) {
  test_ =
      validation_ = {.loss = kNone, .accuracy = kNone, .accuracy_top5 = kNone};
  if (state.next_round > 0) {
    checkpointed_round_ = state.next_round;
  }
}

absl::Status RoundLoop::Run() {
  const ExperimentConfig& config = federation_.config;
  const int64_t rounds = config.run.rounds;
  while (state_.next_round < rounds) {
    // Also before the first round here: a run may be resumed that was stopped.
    if (std::string reason = StopReason(); !reason.empty()) {
      stopped_by_ = std::move(reason);
      break;
    }
    const absl::Time start = absl::Now();
    absl::StatusOr<ScalarMap> ran =
        StopRequested() ? InterruptedError("stopped") : runner_.Run();
    if (FailureOf(ran.status()) == Failure::kInterrupted) {
      FEDLB_RETURN_IF_ERROR(Checkpoint());
      return InterruptedError(absl::StrCat(
          "stopped after round ", state_.next_round, " of ", rounds,
          "; go on with: fedlb train --resume ", directory_.path()));
    }
    FEDLB_ASSIGN_OR_RETURN(ScalarMap metrics, std::move(ran));
    if (profile_check_ != nullptr) {
      profile_check_->AddRound(metrics);
    }

    const bool last_round = state_.next_round == rounds;
    if (last_round || state_.next_round % config.evaluation.every_rounds == 0) {
      FEDLB_RETURN_IF_ERROR(EvaluateWeights(metrics));
    }
    Log(metrics);
    const bool last = last_round || !StopReason().empty();
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
    all_seconds_here_ += absl::ToDoubleSeconds(absl::Now() - start);
    ReportProgress();
  }
  if (std::isnan(test_.accuracy)) {
    ScalarMap unused;  // resumed after the last round, or stopped by time
    FEDLB_RETURN_IF_ERROR(EvaluateWeights(unused));
  }
  return absl::OkStatus();
}

absl::Status RoundLoop::EvaluateWeights(ScalarMap& metrics) {
  Federation& f = federation_;
  const absl::Time start = absl::Now();
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
  metrics.merge(SpreadOf(
      "client_accuracy",
      ClientAccuracies(test_, f.partition, f.dataset->labels(Split::kTrain))));

  const double accuracy =
      f.validation.empty() ? test_.accuracy : validation_.accuracy;
  if (accuracy > state_.best_accuracy + f.config.stopping.min_improvement) {
    state_.best_accuracy = accuracy;
    state_.evaluations_since_best = 0;
  } else {
    ++state_.evaluations_since_best;
  }
  metrics["evaluation_seconds"] = absl::ToDoubleSeconds(absl::Now() - start);
  state_.evaluation_seconds += metrics["evaluation_seconds"];
  return absl::OkStatus();
}

absl::Status RoundLoop::Checkpoint() {
  if (checkpointed_round_ == state_.next_round) {
    return absl::OkStatus();
  }
  FEDLB_ASSIGN_OR_RETURN(state_.metrics_length,
                         directory_.Sync(RunLog::kMetrics));
  FEDLB_ASSIGN_OR_RETURN(state_.events_length,
                         directory_.Sync(RunLog::kEvents));
  FEDLB_ASSIGN_OR_RETURN(const StoredCheckpoint checkpoint,
                         MakeCheckpoint(state_, federation_));
  FEDLB_RETURN_IF_ERROR(directory_.SaveCheckpoint(
      checkpoint, federation_.config.checkpoint.keep));
  checkpointed_round_ = state_.next_round;
  if (federation_.remote != nullptr) {
    federation_.remote->CheckpointWritten(state_.next_round);
  }
  return absl::OkStatus();
}

std::string RoundLoop::StopReason() const {
  const StoppingOptions& stopping = federation_.config.stopping;
  if (stopping.target_accuracy > 0 &&
      state_.best_accuracy >= stopping.target_accuracy) {
    return "target_accuracy";
  }
  if (stopping.max_seconds > 0 &&
      state_.seconds + state_.evaluation_seconds >= stopping.max_seconds) {
    return "max_seconds";
  }
  if (stopping.patience > 0 &&
      state_.evaluations_since_best >= stopping.patience) {
    return "patience";
  }
  return "";
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
  const MemoryStats memory = GetMemoryStats();
  for (int i = 0; i < kNumMemoryTags; ++i) {
    line[absl::StrCat("peak_bytes.",
                      MemoryTagName(static_cast<MemoryTag>(i)))] =
        memory.peak[i];
  }
  line["peak_bytes.total"] = memory.peak_total;

  ScalarMap scalars;
  for (const auto& [name, value] : line.items()) {
    if (value.is_number() && name != "round") {
      scalars[name] = value.get<double>();
    }
  }
  const std::string text = line.dump();
  federation_.logger->Log(LogLevel::kDebug, text);
  absl::Status status =
      directory_.Append(RunLog::kMetrics, absl::StrCat(text, "\n"));
  status.Update(directory_.Append(
      RunLog::kEvents,
      ScalarsRecord(absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch()),
                    state_.next_round, scalars)));
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
  progress.seconds = state_.seconds - seconds_before_;
  progress.samples_per_second =
      static_cast<double>(state_.samples - samples_before_) / progress.seconds;
  progress.eta_seconds = all_seconds_here_ /
                         static_cast<double>(state_.next_round - first_round_) *
                         static_cast<double>(rounds - state_.next_round);
  options_.on_progress(progress);
}

bool RoundLoop::StopRequested() const {
  return options_.stop != nullptr && *options_.stop != 0;
}

}  // namespace fedlb
