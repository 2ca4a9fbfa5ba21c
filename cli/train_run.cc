#include <time.h>
#include <unistd.h>

#include <array>
#include <cctype>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client_processes.h"
#include "config_loading.h"
#include "fedlb/config.h"
#include "fedlb/experiment.h"
#include "fedlb/experiment_config.h"
#include "fedlb/participation.h"
#include "fedlb/profile.h"
#include "fedlb/registry.h"
#include "fedlb/status.h"
#include "plugin_set.h"
#include "profile_file.h"
#include "terminal.h"
#include "train_command.h"
#include "train_output.h"

namespace fedlb::cli {
namespace {

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
  for (std::string& setting : SettingsOf(flags.role)) {
    settings.sets.push_back(std::move(setting));
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

// A host of clients has no run of its own.
absl::Status RunClients(const TrainFlags& flags, const ExperimentConfig& config,
                        const ComponentRegistry& registry,
                        CommandContext& context, CommandResult& result) {
  if (!flags.output.empty() || !flags.resume.empty() ||
      !flags.profile.empty() || flags.dry_run) {
    return UsageError(
        "--output, --resume, --profile and --dry-run are for the process that "
        "runs the rounds; with --role client the run is the server's");
  }
  const absl::StatusOr<ParticipationProgress> progress =
      Participate(config, registry, context.terminal,
                  {.stop = &context.stop,
                   .on_progress = [&context](const ParticipationProgress& now) {
                     context.terminal.Show(DescribeParticipation(now));
                   }});
  FEDLB_RETURN_IF_ERROR(progress.status());
  DescribeParticipant(*progress, result);
  return absl::OkStatus();
}

}  // namespace

absl::Status RunTrain(const TrainFlags& flags, CommandContext& context,
                      CommandResult& result) {
  const bool resume = !flags.resume.empty();
  std::optional<DeviceProfile> profile;
  if (!flags.profile.empty()) {
    FEDLB_ASSIGN_OR_RETURN(profile, ReadProfile(flags.profile));
  }
  TrainFlags asked = flags;
  std::unique_ptr<ClientProcesses> processes;
  if (flags.spawn > 0) {
    FEDLB_ASSIGN_OR_RETURN(
        processes, ClientProcesses::Prepare(flags.spawn, context.terminal));
    asked.role.listen = processes->address();
  }
  ComponentRegistry registry;
  FEDLB_ASSIGN_OR_RETURN(
      const ExperimentConfig config,
      resume
          ? LoadResumedConfig(asked, context.flags, registry, context.terminal)
          : LoadExperimentConfig(SettingsOf(asked), context.flags, registry));
  if (IsParticipant(config)) {
    return RunClients(flags, config, registry, context, result);
  }
  FEDLB_ASSIGN_OR_RETURN(
      const std::unique_ptr<Experiment> experiment,
      Experiment::Create(config, registry, context.terminal));
  if (flags.dry_run) {
    FEDLB_ASSIGN_OR_RETURN(const ExperimentPlan plan,
                           experiment->Plan(&context.stop));
    DescribePlan(plan, result);
    return absl::OkStatus();
  }

  const std::string run_dir = resume ? flags.resume
                              : !flags.output.empty()
                                  ? flags.output
                                  : DefaultRunDir(config.run.name);
  TrainOptions options = OptionsFor(run_dir, resume, context);
  options.profile = profile.has_value() ? &*profile : nullptr;
  // A script that has to clean up or resume needs the folder of a run that
  // failed, too.
  result.data["run_dir"] = options.run_dir;
  context.terminal.Info(absl::StrCat("run folder: ", options.run_dir));
  if (processes != nullptr) {
    FEDLB_RETURN_IF_ERROR(processes->Start(config, context.flags, run_dir + "/clients"));
  }
  FEDLB_ASSIGN_OR_RETURN(const TrainResult run, experiment->Train(options));
  if (processes != nullptr) {
    processes->AwaitEnd();
  }
  DescribeResult(run, result);
  return absl::OkStatus();
}

}  // namespace fedlb::cli
