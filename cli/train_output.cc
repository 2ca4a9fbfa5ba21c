#include "train_output.h"

#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "fedlb/memory.h"
#include "table.h"
#include "terminal.h"

namespace fedlb::cli {
namespace {

using Json = nlohmann::ordered_json;

std::string DescribeBatches(const ExperimentPlan& plan) {
  std::string text = plan.min_batch == plan.max_batch
                         ? FormatCount(plan.min_batch)
                         : absl::StrCat(FormatCount(plan.min_batch), " to ",
                                        FormatCount(plan.max_batch));
  if (plan.clients_below_batch_size > 0) {
    absl::StrAppend(&text, "; ", FormatCount(plan.clients_below_batch_size),
                    " clients hold fewer examples than their batch size");
  }
  return text;
}

Json EvaluationData(const Evaluation& evaluation) {
  return Json{{"accuracy", evaluation.accuracy},
              {"accuracy_top5", evaluation.accuracy_top5},
              {"loss", evaluation.loss},
              {"examples", evaluation.num_examples}};
}

std::string EvaluationText(const Evaluation& evaluation) {
  return absl::StrCat("accuracy ", FormatNumber(evaluation.accuracy, 4),
                      ", top-5 ", FormatNumber(evaluation.accuracy_top5, 4),
                      ", loss ", FormatNumber(evaluation.loss, 4), " on ",
                      FormatCount(evaluation.num_examples), " examples");
}

std::string ComparisonText(const ProfileComparison& profile) {
  const std::string memory =
      profile.predicted_peak_bytes == 0
          ? "no memory"
          : absl::StrCat(FormatBytes(profile.predicted_peak_bytes),
                         " of tensors");
  const std::string step =
      profile.rounds == 0
          ? "no step"
          : absl::StrFormat(
                "a step of %s ms, which took %s (median error %.1f %%)",
                FormatNumber(1000 * profile.predicted_seconds, 3),
                FormatNumber(1000 * profile.measured_seconds, 3),
                100 * profile.median_error);
  return absl::StrCat("predicted ", memory, " and ", step);
}

Progress DescribeProgress(const RoundProgress& round) {
  Progress progress;
  progress.done = round.round;
  progress.total = round.rounds;
  progress.unit = "round";
  std::vector<std::string> parts;
  if (!std::isnan(round.train_loss)) {
    parts.push_back(absl::StrFormat("loss %.4f", round.train_loss));
  }
  if (!std::isnan(round.test_accuracy)) {
    parts.push_back(absl::StrFormat("accuracy %.4f", round.test_accuracy));
  }
  if (std::isfinite(round.samples_per_second)) {
    parts.push_back(absl::StrCat(
        FormatCount(std::llround(round.samples_per_second)), " images/s"));
  }
  parts.push_back(absl::StrCat("ETA ", FormatSeconds(round.eta_seconds)));
  progress.details = absl::StrJoin(parts, "  ");
  return progress;
}

}  // namespace

void DescribePlan(const ExperimentPlan& plan, CommandResult& result) {
  result.data = Json{
      {"rounds", plan.rounds},
      {"clients", plan.clients},
      {"cohort_size", plan.cohort_size},
      {"train_examples", plan.train_examples},
      {"validation_examples", plan.validation_examples},
      {"test_examples", plan.test_examples},
      {"min_client_examples", plan.min_client_examples},
      {"max_client_examples", plan.max_client_examples},
      {"min_batch", plan.min_batch},
      {"max_batch", plan.max_batch},
      {"clients_below_batch_size", plan.clients_below_batch_size},
      {"parameters", plan.parameters},
      {"optimizer_steps", plan.optimizer_steps},
      {"samples", plan.samples},
      {"bytes_to_clients", plan.bytes_to_clients},
      {"bytes_from_clients", plan.bytes_from_clients},
      {"memory",
       {{"dataset_bytes", plan.dataset_bytes},
        {"model_bytes", plan.model_bytes},
        {"optimizer_bytes", plan.optimizer_bytes},
        {"mapper_bytes", plan.mapper_bytes},
        {"client_state_bytes", plan.client_state_bytes},
        {"peak_step_bytes", plan.peak_step_bytes}}},
      {"seconds", plan.seconds},
  };
  const auto count = [](int64_t n) { return FormatCount(n); };
  result.text = FormatPairs({
      {"rounds", count(plan.rounds)},
      {"clients", absl::StrCat(count(plan.clients), ", ",
                               count(plan.cohort_size), " per round")},
      {"examples",
       absl::StrCat(count(plan.train_examples), " to train on, ",
                    count(plan.validation_examples), " to validate, ",
                    count(plan.test_examples), " to test")},
      {"examples per client",
       absl::StrCat(count(plan.min_client_examples), " to ",
                    count(plan.max_client_examples))},
      {"examples per local step", DescribeBatches(plan)},
      {"parameters", count(plan.parameters)},
      {"optimizer steps", count(plan.optimizer_steps)},
      {"samples", count(plan.samples)},
      {"sent to clients", FormatBytes(plan.bytes_to_clients)},
      {"sent by clients", FormatBytes(plan.bytes_from_clients)},
      {"memory: dataset", FormatBytes(plan.dataset_bytes)},
      {"memory: models", FormatBytes(plan.model_bytes)},
      {"memory: optimizers", FormatBytes(plan.optimizer_bytes)},
      {"memory: gradient mapper", FormatBytes(plan.mapper_bytes)},
      {"memory: client state", FormatBytes(plan.client_state_bytes)},
      {"memory: peak in a step", FormatBytes(plan.peak_step_bytes)},
      {"training time", absl::StrCat("about ", FormatSeconds(plan.seconds),
                                     ", without evaluations")},
  });
}

void DescribeResult(const TrainResult& run, CommandResult& result) {
  Json peaks = Json::object();
  for (int i = 0; i < kNumMemoryTags; ++i) {
    peaks[MemoryTagName(static_cast<MemoryTag>(i))] = run.memory.peak[i];
  }
  Json mapper = Json::object();
  for (const auto& [name, value] : run.mapper) {
    mapper[name] = value;
  }
  result.data = Json{
      {"run_dir", run.run_dir},
      {"rounds", run.rounds},
      {"steps", run.steps},
      {"samples", run.samples},
      {"test", EvaluationData(run.test)},
      {"validation", run.validation.num_examples > 0
                         ? EvaluationData(run.validation)
                         : Json()},
      {"train", {{"loss", run.train_loss}}},
      {"seconds", run.seconds},
      {"evaluation_seconds", run.evaluation_seconds},
      {"virtual_seconds", run.virtual_seconds},
      {"stopped_by", run.stopped_by},
      {"samples_per_second", run.samples_per_second},
      {"peak_memory_bytes", run.peak_memory_bytes},
      {"memory",
       {{"peak_bytes", peaks}, {"reserved_bytes", run.memory.reserved}}},
      {"weights_sha256", run.weights_sha256},
      {"mapper", mapper},
      {"dropped_updates", run.dropped_updates},
      {"traffic",
       {{"bytes_to_clients", run.traffic.bytes_to_clients},
        {"bytes_from_clients", run.traffic.bytes_from_clients}}},
  };

  if (run.profile.has_value()) {
    const ProfileComparison& profile = *run.profile;
    result.data["profile"] = {{"rounds", profile.rounds},
                              {"step_ms",
                               {{"predicted", 1000 * profile.predicted_seconds},
                                {"measured", 1000 * profile.measured_seconds},
                                {"median_error", profile.median_error}}},
                              {"memory_bytes",
                               {{"predicted", profile.predicted_peak_bytes},
                                {"measured", profile.measured_peak_bytes}}}};
  }

  std::vector<std::pair<std::string, std::string>> lines = {
      {"run", Printable(run.run_dir)},
      {"rounds",
       absl::StrCat(FormatCount(run.rounds), ", ", FormatCount(run.steps),
                    " steps, ", FormatCount(run.samples), " samples")},
      {"test", EvaluationText(run.test)},
  };
  if (run.validation.num_examples > 0) {
    lines.emplace_back("validation", EvaluationText(run.validation));
  }
  lines.emplace_back("train",
                     absl::StrCat("loss ", FormatNumber(run.train_loss, 4)));
  lines.emplace_back(
      "time",
      absl::StrCat(FormatSeconds(run.seconds), " of training, ",
                   FormatCount(std::llround(run.samples_per_second)),
                   " samples/s; ", FormatSeconds(run.evaluation_seconds),
                   " of evaluation"));
  if (run.virtual_seconds > 0) {
    lines.emplace_back("simulated time", FormatSeconds(run.virtual_seconds));
  }
  if (run.stopped_by != "rounds") {
    lines.emplace_back("stopped by", absl::StrCat("stopping.", run.stopped_by));
  }
  lines.emplace_back(
      "peak memory",
      absl::StrCat(FormatBytes(run.peak_memory_bytes), " of tensors"));
  if (run.profile.has_value()) {
    lines.emplace_back("profile", ComparisonText(*run.profile));
  }
  if (!run.mapper.empty()) {
    std::vector<std::string> scalars;
    for (const auto& [name, value] : run.mapper) {
      scalars.push_back(absl::StrCat(name, " ", FormatNumber(value, 4)));
    }
    lines.emplace_back("mapper", absl::StrJoin(scalars, ", "));
  }
  if (run.traffic.bytes_to_clients > 0) {
    lines.emplace_back(
        "traffic",
        absl::StrCat(FormatBytes(run.traffic.bytes_to_clients), " to clients, ",
                     FormatBytes(run.traffic.bytes_from_clients), " back"));
  }
  if (run.dropped_updates > 0) {
    lines.emplace_back("dropped updates", FormatCount(run.dropped_updates));
  }
  lines.emplace_back("weights", run.weights_sha256);
  result.text = FormatPairs(lines);
}

Progress DescribeParticipation(const ParticipationProgress& now) {
  Progress progress;
  progress.done = now.round;
  progress.total = now.num_rounds;
  progress.unit = "round";
  if (!std::isnan(now.train_loss)) {
    progress.details = absl::StrFormat("loss %.4f", now.train_loss);
  }
  return progress;
}

void DescribeParticipant(const ParticipationProgress& end,
                         CommandResult& result) {
  result.data = Json{
      {"role", "client"},
      {"rounds", end.round},
      {"updates", end.updates},
      {"refused_updates", end.refused},
      {"samples", end.samples},
      {"train", {{"loss", end.train_loss}}},
      {"traffic",
       {{"bytes_to_clients", end.traffic.bytes_to_clients},
        {"bytes_from_clients", end.traffic.bytes_from_clients}}}};
  result.text = FormatPairs(
      {{"rounds", FormatCount(end.round)},
       {"updates", absl::StrCat(FormatCount(end.updates), " sent, ",
                                FormatCount(end.refused), " refused")},
       {"samples", FormatCount(end.samples)},
       {"train", absl::StrCat("loss ", FormatNumber(end.train_loss, 4))},
       {"traffic",
        absl::StrCat(FormatBytes(end.traffic.bytes_to_clients), " received, ",
                     FormatBytes(end.traffic.bytes_from_clients), " sent")}});
}

TrainOptions OptionsFor(const std::string& run_dir, bool resume,
                        CommandContext& context) {
  TrainOptions options;
  options.run_dir = run_dir;
  options.resume = resume;
  options.argv = context.argv;
  options.stop = &context.stop;
  options.on_progress = [&context](const RoundProgress& round) {
    context.terminal.Show(DescribeProgress(round));
  };
  return options;
}

}  // namespace fedlb::cli
