#include <time.h>
#include <unistd.h>

#include <array>
#include <cctype>
#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "config_loading.h"
#include "fedlb/config.h"
#include "fedlb/experiment.h"
#include "fedlb/experiment_config.h"
#include "fedlb/memory.h"
#include "fedlb/registry.h"
#include "fedlb/status.h"
#include "plugin_set.h"
#include "table.h"
#include "terminal.h"
#include "train_command.h"

namespace fedlb::cli {
namespace {

using Json = nlohmann::ordered_json;

// runs/<name>-<time>, with a number behind it where that exists already.
std::string DefaultRunDir(const std::string& name) {
  std::string safe = name.empty() ? "run" : name;
  for (char& c : safe) {
    const bool kept = std::isalnum(static_cast<unsigned char>(c)) != 0 ||
                      c == '-' || c == '_' || (c == '.' && &c != safe.data());
    c = kept ? c : '_';
  }
  const time_t now = time(nullptr);
  tm local = {};
  localtime_r(&now, &local);
  std::array<char, 32> stamp = {};
  strftime(stamp.data(), stamp.size(), "%Y%m%d-%H%M%S", &local);
  const std::string first =
      absl::StrCat("runs/", safe.substr(0, 128), "-", stamp.data());
  std::string path = first;
  for (int number = 2; access(path.c_str(), F_OK) == 0; ++number) {
    path = absl::StrCat(first, "-", number);
  }
  return path;
}

// Appends the dotted keys under which the tables differ.
void ListDifferences(const ConfigTable& a, const ConfigTable& b,
                     const std::string& prefix,
                     std::vector<std::string>& keys) {
  const auto compare = [&](const std::string& key, const ConfigValue* left,
                           const ConfigValue* right) {
    const auto* left_table =
        left != nullptr ? left->As<ConfigTable>() : nullptr;
    const auto* right_table =
        right != nullptr ? right->As<ConfigTable>() : nullptr;
    if (left_table != nullptr && right_table != nullptr) {
      ListDifferences(*left_table, *right_table, absl::StrCat(prefix, key, "."),
                      keys);
    } else if (left == nullptr || right == nullptr || !(*left == *right)) {
      keys.push_back(absl::StrCat(prefix, key));
    }
  };
  for (const auto& [key, value] : a.values()) {
    compare(key, &value, b.Find(key));
  }
  for (const auto& [key, value] : b.values()) {
    if (a.Find(key) == nullptr) {
      compare(key, nullptr, &value);
    }
  }
}

absl::Status CheckResumedConfig(const ConfigTable& saved,
                                const ConfigTable& asked,
                                const std::string& run_dir,
                                Terminal& terminal) {
  std::vector<std::string> keys;
  ListDifferences(saved, asked, "", keys);
  std::vector<std::string> refused;
  for (const std::string& key : keys) {
    if (!MayChangeOnResume(key)) {
      refused.push_back(key);
    }
  }
  if (!refused.empty()) {
    return ConfigError(absl::StrCat(
        "--resume ", run_dir,
        ": a run goes on with the settings it was "
        "started with, and these differ: ",
        absl::StrJoin(refused, ", "),
        "; only rounds, name, plugins, evaluation.*, checkpoint.*, stopping.*, "
        "execution.memory_limit and transport.* without its name may change"));
  }
  if (!keys.empty()) {
    terminal.Info(
        absl::StrCat("changed on resume: ", absl::StrJoin(keys, ", ")));
  }
  return absl::OkStatus();
}

// The settings with those that have flags of their own among them.
ConfigFlags SettingsOf(const TrainFlags& flags) {
  ConfigFlags settings = flags.config;
  if (!flags.init.empty()) {
    settings.sets.push_back(
        absl::StrCat("model.init=", ConfigValue(flags.init).ToString()));
  }
  if (flags.trust_file) {
    settings.sets.push_back("model.trust_file=true");
  }
  return settings;
}

// The configuration of a stored run, with what the command line changes.
absl::StatusOr<ExperimentConfig> LoadResumedConfig(const TrainFlags& flags,
                                                   const CommonFlags& common,
                                                   ComponentRegistry& registry,
                                                   Terminal& terminal) {
  if (!flags.config.configs.empty()) {
    return UsageError(
        "--resume takes the configuration from the run's folder; leave out "
        "--config, or change single settings with --set");
  }
  FEDLB_ASSIGN_OR_RETURN(const std::string path,
                         FindRunConfig(flags.resume, "--resume"));
  ConfigLayers layers;
  layers.files = {path};
  layers.environment = false;
  FEDLB_ASSIGN_OR_RETURN(const ConfigTable saved, LoadConfig(layers));
  layers.environment = true;
  layers.sets = SettingsOf(flags).sets;
  FEDLB_ASSIGN_OR_RETURN(ConfigTable asked, LoadConfig(layers));
  FEDLB_RETURN_IF_ERROR(LoadPluginsFor(common, asked, registry));
  FEDLB_ASSIGN_OR_RETURN(const ExperimentConfig before,
                         ResolveExperiment(saved, registry));
  FEDLB_ASSIGN_OR_RETURN(ExperimentConfig config,
                         ResolveExperiment(asked, registry));
  FEDLB_RETURN_IF_ERROR(CheckResumedConfig(before.resolved, config.resolved,
                                           flags.resume, terminal));
  return config;
}

std::string DescribeBatches(const ExperimentPlan& plan) {
  std::string text =
      plan.min_batch == plan.max_batch
          ? FormatCount(plan.min_batch)
          : absl::StrCat(FormatCount(plan.min_batch), " to ",
                         FormatCount(plan.max_batch));
  if (plan.clients_below_batch_size > 0) {
    absl::StrAppend(&text, "; ", FormatCount(plan.clients_below_batch_size),
                    " clients hold fewer examples than their batch size");
  }
  return text;
}

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
      {"memory: client state", FormatBytes(plan.client_state_bytes)},
      {"memory: peak in a step", FormatBytes(plan.peak_step_bytes)},
      {"training time", absl::StrCat("about ", FormatSeconds(plan.seconds),
                                     ", without evaluations")},
  });
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
      "time", absl::StrCat(FormatSeconds(run.seconds), " of training, ",
                           FormatCount(std::llround(run.samples_per_second)),
                           " samples/s; ",
                           FormatSeconds(run.evaluation_seconds),
                           " of evaluation"));
  if (run.virtual_seconds > 0) {
    lines.emplace_back("simulated time", FormatSeconds(run.virtual_seconds));
  }
  if (run.stopped_by != "rounds") {
    lines.emplace_back("stopped by",
                       absl::StrCat("stopping.", run.stopped_by));
  }
  lines.emplace_back("peak memory", absl::StrCat(
      FormatBytes(run.peak_memory_bytes), " of tensors"));
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

Progress Describe(const RoundProgress& round) {
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

absl::Status RunTrain(const TrainFlags& flags, CommandContext& context,
                      CommandResult& result) {
  const bool resume = !flags.resume.empty();
  ComponentRegistry registry;
  FEDLB_ASSIGN_OR_RETURN(
      const ExperimentConfig config,
      resume
          ? LoadResumedConfig(flags, context.flags, registry, context.terminal)
          : LoadExperimentConfig(SettingsOf(flags), context.flags, registry));
  FEDLB_ASSIGN_OR_RETURN(
      const std::unique_ptr<Experiment> experiment,
      Experiment::Create(config, registry, context.terminal));
  if (flags.dry_run) {
    FEDLB_ASSIGN_OR_RETURN(const ExperimentPlan plan,
                           experiment->Plan(&context.stop));
    DescribePlan(plan, result);
    return absl::OkStatus();
  }

  TrainOptions options;
  options.run_dir = resume                  ? flags.resume
                    : !flags.output.empty() ? flags.output
                                            : DefaultRunDir(config.run.name);
  options.resume = resume;
  options.argv = context.argv;
  options.stop = &context.stop;
  options.on_progress = [&context](const RoundProgress& round) {
    context.terminal.Show(Describe(round));
  };
  // A script that has to clean up or resume needs the folder of a run that
  // failed, too.
  result.data["run_dir"] = options.run_dir;
  context.terminal.Info(absl::StrCat("run folder: ", options.run_dir));
  FEDLB_ASSIGN_OR_RETURN(const TrainResult run, experiment->Train(options));
  DescribeResult(run, result);
  return absl::OkStatus();
}

}  // namespace fedlb::cli
