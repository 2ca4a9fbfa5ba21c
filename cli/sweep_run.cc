#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "child_process.h"
#include "fedlb/config.h"
#include "fedlb/durable_file.h"
#include "fedlb/experiment_config.h"
#include "fedlb/registry.h"
#include "fedlb/report.h"
#include "fedlb/status.h"
#include "fedlb/sweep.h"
#include "plugin_set.h"
#include "sweep_command.h"
#include "table.h"
#include "terminal.h"

namespace fedlb::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kExitDiverged = 9;
constexpr int64_t kMaxResultBytes = 16 << 20;
constexpr absl::Duration kPollInterval = absl::Milliseconds(20);

// One run that is wanted: its configuration, and where its parts lie.
struct PlannedRun {
  std::string id;
  std::string config_text;
  bool in_process = false;  // clients are played by the process itself
};

// A method's settings with their runs, by seed.
struct PlannedSetting {
  std::string label;
  std::map<int64_t, PlannedRun> runs;
};

struct PlannedMethod {
  std::string name;
  std::vector<PlannedSetting> settings;
};

std::string Slug(const std::string& name) {
  std::string slug;
  for (const char c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
      slug += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    } else if (!slug.empty() && slug.back() != '-') {
      slug += '-';
    }
  }
  return slug.substr(0, 40);
}

// What is to be swept, from the study and the flags.
absl::StatusOr<Sweep> SweepOf(const SweepFlags& flags) {
  Sweep sweep;
  if (!flags.study.empty()) {
    FEDLB_ASSIGN_OR_RETURN(sweep, ReadSweepFile(flags.study));
  } else {
    sweep.methods = {{"sweep", {}}};
    sweep.seeds = {1};
  }
  sweep.configs.insert(sweep.configs.end(), flags.config.configs.begin(),
                       flags.config.configs.end());
  for (SweepMethod& method : sweep.methods) {
    method.sets.insert(method.sets.end(), flags.config.sets.begin(),
                       flags.config.sets.end());
  }
  if (!flags.seeds.empty()) {
    FEDLB_ASSIGN_OR_RETURN(sweep.seeds, ParseSeeds(flags.seeds));
    if (flags.study.empty()) {
      sweep.tuning_seeds = sweep.seeds;
    }
  }
  if (!flags.tuning_seeds.empty()) {
    FEDLB_ASSIGN_OR_RETURN(sweep.tuning_seeds, ParseSeeds(flags.tuning_seeds));
  }
  if (sweep.tuning_seeds.empty()) {
    sweep.tuning_seeds = sweep.seeds;
  }
  return sweep;
}

absl::StatusOr<PlannedRun> PlanRun(const Sweep& sweep,
                                   const SweepMethod& method,
                                   const SweepSetting& setting, int64_t seed,
                                   const CommonFlags& common,
                                   ComponentRegistry& registry) {
  ConfigLayers layers;
  layers.files = sweep.configs;
  layers.sets = {absl::StrCat("name=", ConfigValue(method.name).ToString())};
  layers.sets.insert(layers.sets.end(), setting.sets.begin(),
                     setting.sets.end());
  layers.sets.push_back(absl::StrCat("seed=", seed));
  FEDLB_ASSIGN_OR_RETURN(ConfigTable table, LoadConfig(layers));
  if (registry.entries().empty()) {
    FEDLB_RETURN_IF_ERROR(LoadPluginsFor(common, table, registry));
  }
  FEDLB_ASSIGN_OR_RETURN(const ExperimentConfig config,
                         ResolveExperiment(table, registry));
  PlannedRun run;
  run.config_text = PrintConfig(config, /*with_origins=*/false);
  run.id = absl::StrCat(Slug(method.name), "-s", seed, "-",
                        Sha256Hex(run.config_text).substr(0, 12));
  const ConfigValue* transport = config.components.at("transport").Find("name");
  run.in_process = transport != nullptr &&
                   *transport == ConfigValue(std::string("inprocess"));
  return run;
}

// Every run that may be wanted; configurations that are wrong are found here,
// before the first run.
absl::StatusOr<std::vector<PlannedMethod>> PlanRuns(const Sweep& sweep,
                                                    const CommonFlags& common) {
  std::set<int64_t> seeds(sweep.seeds.begin(), sweep.seeds.end());
  seeds.insert(sweep.tuning_seeds.begin(), sweep.tuning_seeds.end());
  std::vector<PlannedMethod> methods;
  for (const SweepMethod& method : sweep.methods) {
    PlannedMethod planned{method.name, {}};
    FEDLB_ASSIGN_OR_RETURN(const std::vector<SweepSetting> settings,
                           ExpandSettings(method.sets));
    ComponentRegistry registry;
    for (const SweepSetting& setting : settings) {
      PlannedSetting runs{setting.label, {}};
      for (const int64_t seed : seeds) {
        absl::StatusOr<PlannedRun> run =
            PlanRun(sweep, method, setting, seed, common, registry);
        if (!run.ok()) {
          return Annotate(
              run.status(),
              setting.label.empty()
                  ? absl::StrCat("method ", method.name)
                  : absl::StrCat("method ", method.name, ", ", setting.label));
        }
        runs.runs[seed] = *std::move(run);
      }
      planned.settings.push_back(std::move(runs));
    }
    methods.push_back(std::move(planned));
  }
  return methods;
}

// The folder of a sweep and the processes that fill it.
class SweepFolder {
 public:
  SweepFolder(std::string path, int64_t jobs, CommandContext& context)
      : path_(std::move(path)), jobs_(jobs), context_(context) {}

  const std::string& path() const { return path_; }
  std::string RunDir(const PlannedRun& run) const {
    return absl::StrCat(path_, "/runs/", run.id);
  }

  absl::Status Create() const {
    for (const char* folder : {"configs", "logs", "results", "runs"}) {
      std::error_code error;
      std::filesystem::create_directories(absl::StrCat(path_, "/", folder),
                                          error);
      if (error) {
        return StorageError(
            absl::StrCat(path_, "/", folder, ": ", error.message()));
      }
    }
    return absl::OkStatus();
  }

  // Runs what has no result yet, `jobs` at a time. On a failure the runs that
  // have begun come to their end.
  absl::Status Run(const std::vector<const PlannedRun*>& wanted);

  // What a run with a result left.
  absl::StatusOr<SweepRun> Read(const PlannedRun& run) const;

 private:
  struct Job {
    const PlannedRun* run;
    ChildProcess process;
  };

  std::string ResultPath(const PlannedRun& run) const {
    return absl::StrCat(path_, "/results/", run.id, ".json");
  }
  bool HasResult(const PlannedRun& run) const {
    return access(ResultPath(run).c_str(), F_OK) == 0;
  }
  absl::StatusOr<Job> Start(const PlannedRun& run) const;
  absl::Status Finish(const PlannedRun& run, int exit_code) const;

  const std::string path_;
  const int64_t jobs_;
  CommandContext& context_;
};

absl::StatusOr<SweepFolder::Job> SweepFolder::Start(
    const PlannedRun& run) const {
  std::vector<std::string> arguments = {"train", "--format", "json"};
  const std::string run_dir = RunDir(run);
  if (access(absl::StrCat(run_dir, "/config.toml").c_str(), F_OK) == 0) {
    arguments.insert(arguments.end(), {"--resume", run_dir});
  } else {
    const std::string config =
        absl::StrCat(path_, "/configs/", run.id, ".toml");
    FEDLB_RETURN_IF_ERROR(WriteFileDurably(config, run.config_text));
    arguments.insert(arguments.end(),
                     {"--config", config, "--output", run_dir});
  }
  if (run.in_process) {
    const auto cores =
        std::max<int64_t>(1, std::thread::hardware_concurrency());
    // No bit depends on it.
    arguments.insert(
        arguments.end(),
        {"--set", absl::StrCat("transport.workers=",
                               std::max<int64_t>(1, cores / jobs_))});
  }
  for (const std::string& plugin : context_.flags.plugins) {
    arguments.insert(arguments.end(), {"--plugin", plugin});
  }
  for (const std::string& folder : context_.flags.plugin_dirs) {
    arguments.insert(arguments.end(), {"--plugin-dir", folder});
  }
  FEDLB_ASSIGN_OR_RETURN(
      ChildProcess process,
      ChildProcess::Start(arguments, absl::StrCat(ResultPath(run), ".part"),
                          absl::StrCat(path_, "/logs/", run.id, ".txt")));
  return Job{&run, process};
}

// The status of a process that failed.
absl::Status FailureOfRun(int exit_code, const std::string& message) {
  switch (exit_code) {
    case 3:
      return ConfigError(message);
    case 4:
      return InputFileError(message);
    case 5:
      return OutOfMemoryError(message);
    case 7:
      return DeadlineError(message);
    case 8:
      return PluginRefusedError(message);
    case 10:
      return StorageError(message);
    case 130:
    case 143:
      return InterruptedError(message);
    default:
      return absl::InternalError(message);
  }
}

absl::Status SweepFolder::Finish(const PlannedRun& run, int exit_code) const {
  const std::string part = absl::StrCat(ResultPath(run), ".part");
  if (exit_code == 0 || exit_code == kExitDiverged) {
    if (rename(part.c_str(), ResultPath(run).c_str()) != 0) {
      return StorageError(absl::StrCat("cannot rename ", part));
    }
    return absl::OkStatus();
  }
  std::string cause = absl::StrCat("exit code ", exit_code);
  const auto text = ReadWholeFile(part, kMaxResultBytes);
  const Json envelope = text.ok() ? Json::parse(*text, nullptr, false) : Json();
  if (envelope.is_object() && envelope.contains("error") &&
      envelope["error"].contains("message")) {
    cause = envelope["error"]["message"].get<std::string>();
  }
  unlink(part.c_str());
  return FailureOfRun(
      exit_code, absl::StrCat("run ", run.id, ": ", cause, " (log: ", path_,
                              "/logs/", run.id, ".txt)"));
}

absl::Status SweepFolder::Run(const std::vector<const PlannedRun*>& wanted) {
  std::deque<const PlannedRun*> waiting;
  std::set<std::string> seen;
  for (const PlannedRun* run : wanted) {
    if (!HasResult(*run) && seen.insert(run->id).second) {
      waiting.push_back(run);
    }
  }
  const auto total = static_cast<int64_t>(waiting.size());
  int64_t done = 0;
  const absl::Time start = absl::Now();
  std::vector<Job> running;
  absl::Status status;
  bool interrupted = false;
  while (!running.empty() || (!waiting.empty() && status.ok())) {
    while (status.ok() && !waiting.empty() &&
           static_cast<int64_t>(running.size()) < jobs_) {
      absl::StatusOr<Job> job = Start(*waiting.front());
      if (!job.ok()) {
        status = job.status();
        break;
      }
      waiting.pop_front();
      running.push_back(*std::move(job));
    }
    for (size_t i = running.size(); i-- > 0;) {
      if (const std::optional<int> exit_code = running[i].process.Poll()) {
        status.Update(Finish(*running[i].run, *exit_code));
        running.erase(running.begin() + static_cast<ptrdiff_t>(i));
        ++done;
        const double seconds = absl::ToDoubleSeconds(absl::Now() - start);
        context_.terminal.Show(
            {.done = done,
             .total = total,
             .unit = "run",
             .details = absl::StrCat(
                 "ETA ", FormatSeconds(seconds / static_cast<double>(done) *
                                       static_cast<double>(total - done)))});
      }
    }
    if (context_.stop != 0 && !std::exchange(interrupted, true)) {
      status.Update(InterruptedError(absl::StrCat(
          "stopped; the same command goes on where it stopped, in ", path_)));
      for (Job& job : running) {
        job.process.Interrupt();
      }
    }
    absl::SleepFor(kPollInterval);
  }
  context_.terminal.EndProgress();
  return status;
}

absl::StatusOr<SweepRun> SweepFolder::Read(const PlannedRun& run) const {
  FEDLB_ASSIGN_OR_RETURN(const std::string text,
                         ReadWholeFile(ResultPath(run), kMaxResultBytes));
  const Json envelope = Json::parse(text, nullptr, false);
  if (!envelope.is_object() || !envelope.contains("exit_code")) {
    return InputFileError(
        absl::StrCat(ResultPath(run),
                     ": not the result of a run; remove it and sweep "
                     "again"));
  }
  if (envelope["exit_code"] == kExitDiverged) {
    return SweepRun{.run_dir = RunDir(run), .diverged = true, .points = {}};
  }
  return ReadSweepRun(RunDir(run));
}

absl::StatusOr<std::vector<SweepRun>> ReadRuns(
    const SweepFolder& folder, const PlannedSetting& setting,
    const std::vector<int64_t>& seeds) {
  std::vector<SweepRun> runs;
  for (const int64_t seed : seeds) {
    FEDLB_ASSIGN_OR_RETURN(SweepRun run, folder.Read(setting.runs.at(seed)));
    runs.push_back(std::move(run));
  }
  return runs;
}

// A setting that was tried, for the record.
struct TriedSetting {
  std::string method;
  std::string setting;
  double validation_score = 0;
  int64_t diverged = 0;
  bool chosen = false;
};

// Runs and compares the settings of all methods.
absl::StatusOr<std::vector<SweepResult>> Compare(
    const Sweep& sweep, const std::vector<PlannedMethod>& methods,
    SweepFolder& folder, std::vector<TriedSetting>& tried) {
  std::vector<const PlannedRun*> tuning;
  for (const PlannedMethod& method : methods) {
    const auto& seeds =
        method.settings.size() > 1 ? sweep.tuning_seeds : sweep.seeds;
    for (const PlannedSetting& setting : method.settings) {
      for (const int64_t seed : seeds) {
        tuning.push_back(&setting.runs.at(seed));
      }
    }
  }
  FEDLB_RETURN_IF_ERROR(folder.Run(tuning));

  std::vector<const PlannedSetting*> chosen;
  std::vector<SweepResult> results;
  std::vector<const PlannedRun*> compared;
  for (const PlannedMethod& method : methods) {
    const bool several = method.settings.size() > 1;
    std::vector<std::vector<SweepRun>> runs;
    for (const PlannedSetting& setting : method.settings) {
      FEDLB_ASSIGN_OR_RETURN(
          std::vector<SweepRun> of_setting,
          ReadRuns(folder, setting,
                   several ? sweep.tuning_seeds : sweep.seeds));
      runs.push_back(std::move(of_setting));
    }
    absl::StatusOr<size_t> best = ChooseSetting(runs);
    if (!best.ok()) {
      return Annotate(best.status(), absl::StrCat("method ", method.name));
    }
    for (size_t i = 0; several && i < runs.size(); ++i) {
      tried.push_back({.method = method.name,
                       .setting = method.settings[i].label,
                       .validation_score = ValidationScore(runs[i]),
                       .diverged = std::count_if(
                           runs[i].begin(), runs[i].end(),
                           [](const SweepRun& run) { return run.diverged; }),
                       .chosen = i == *best});
    }
    chosen.push_back(&method.settings[*best]);
    results.push_back({.method = method.name,
                       .setting = chosen.back()->label,
                       .validation_score = ValidationScore(runs[*best]),
                       .runs = {}});
    for (const int64_t seed : sweep.seeds) {
      compared.push_back(&chosen.back()->runs.at(seed));
    }
  }
  FEDLB_RETURN_IF_ERROR(folder.Run(compared));
  for (size_t i = 0; i < results.size(); ++i) {
    FEDLB_ASSIGN_OR_RETURN(results[i].runs,
                           ReadRuns(folder, *chosen[i], sweep.seeds));
  }
  return results;
}

Json SpreadData(const Spread& spread) {
  return {{"mean", spread.mean}, {"deviation", spread.deviation}};
}

Json TableData(const SweepTable& table) {
  Json rows = Json::array();
  for (const SweepRow& row : table.rows) {
    rows.push_back({{"method", row.method},
                    {"setting", row.setting},
                    {"runs", row.runs},
                    {"diverged", row.diverged},
                    {"validation_score", row.validation_score},
                    {"final", SpreadData(row.final_accuracy)},
                    {"last_three", SpreadData(row.last_three)},
                    {"at_equal_steps", SpreadData(row.at_equal_steps)},
                    {"at_equal_samples", SpreadData(row.at_equal_samples)},
                    {"at_equal_seconds", SpreadData(row.at_equal_seconds)}});
  }
  return rows;
}

// "86.94 ± 0.09", in per cent.
std::string SpreadText(const Spread& spread) {
  if (!std::isfinite(spread.mean)) {
    return "-";
  }
  return absl::StrFormat("%.2f ± %.2f", 100 * spread.mean,
                         100 * spread.deviation);
}

// The table's cells, the header first.
std::vector<std::vector<std::string>> Cells(const SweepTable& table) {
  std::vector<std::vector<std::string>> cells = {
      {"METHOD", "SETTING", "RUNS", "FINAL", "LAST THREE",
       absl::StrCat("AT ", FormatNumber(table.equal_steps), " STEPS"),
       absl::StrCat("AT ", FormatNumber(table.equal_samples, 8), " SAMPLES"),
       absl::StrCat("AT ", FormatNumber(table.equal_seconds, 3), " S")}};
  for (const SweepRow& row : table.rows) {
    std::string runs = absl::StrCat(row.runs);
    if (row.diverged > 0) {
      absl::StrAppend(&runs, ", ", row.diverged, " diverged");
    }
    cells.push_back({row.method, row.setting.empty() ? "-" : row.setting,
                     std::move(runs), SpreadText(row.final_accuracy),
                     SpreadText(row.last_three), SpreadText(row.at_equal_steps),
                     SpreadText(row.at_equal_samples),
                     SpreadText(row.at_equal_seconds)});
  }
  return cells;
}

std::string Markdown(const std::vector<std::vector<std::string>>& cells) {
  std::string text;
  for (size_t i = 0; i < cells.size(); ++i) {
    absl::StrAppend(&text, "|");
    for (const std::string& cell : cells[i]) {
      absl::StrAppend(&text, " ", absl::StrReplaceAll(cell, {{"|", "\\|"}}),
                      " |");
    }
    absl::StrAppend(&text, "\n");
    if (i == 0) {
      absl::StrAppend(&text, "|---|---|---:|");
      for (size_t j = 3; j < cells[i].size(); ++j) {
        absl::StrAppend(&text, "---:|");
      }
      absl::StrAppend(&text, "\n");
    }
  }
  return text;
}

std::string Csv(const std::vector<std::vector<std::string>>& cells) {
  std::string text;
  for (const std::vector<std::string>& row : cells) {
    std::vector<std::string> quoted;
    for (const std::string& cell : row) {
      quoted.push_back(absl::StrCat(
          "\"", absl::StrReplaceAll(cell, {{"\"", "\"\""}}), "\""));
    }
    absl::StrAppend(&text, absl::StrJoin(quoted, ","), "\n");
  }
  return text;
}

void DescribePlan(const Sweep& sweep, const std::vector<PlannedMethod>& methods,
                  CommandResult& result) {
  std::vector<std::vector<std::string>> rows;
  int64_t total = 0;
  result.records = "methods";
  result.data["methods"] = Json::array();
  for (const PlannedMethod& method : methods) {
    const auto settings = static_cast<int64_t>(method.settings.size());
    std::set<int64_t> compared(sweep.seeds.begin(), sweep.seeds.end());
    int64_t runs = static_cast<int64_t>(compared.size());
    if (settings > 1) {
      for (const int64_t seed : sweep.tuning_seeds) {
        compared.erase(seed);
      }
      runs = settings * static_cast<int64_t>(sweep.tuning_seeds.size()) +
             static_cast<int64_t>(compared.size());
    }
    total += runs;
    rows.push_back({method.name, absl::StrCat(settings), absl::StrCat(runs)});
    result.data["methods"].push_back(
        {{"method", method.name}, {"settings", settings}, {"runs", runs}});
  }
  result.data["runs"] = total;
  result.text = absl::StrCat(FormatTable({"METHOD", "SETTINGS", "RUNS"}, rows),
                             FormatCount(total), " runs in all\n");
}

std::string TriedText(const std::vector<TriedSetting>& tried) {
  std::vector<std::vector<std::string>> rows;
  for (const TriedSetting& setting : tried) {
    rows.push_back({setting.method, setting.setting,
                    absl::StrFormat("%.2f", 100 * setting.validation_score),
                    absl::StrCat(setting.diverged),
                    setting.chosen ? "yes" : ""});
  }
  return FormatTable({"METHOD", "SETTING", "VALIDATION", "DIVERGED", "CHOSEN"},
                     rows);
}

absl::Status WriteTables(const std::string& folder, const std::string& title,
                         const SweepTable& table,
                         const std::vector<SweepResult>& results,
                         CommandResult& result) {
  const std::vector<std::vector<std::string>> cells = Cells(table);
  std::vector<RunGroup> groups;
  for (const SweepResult& method : results) {
    RunGroup group{method.method, {}};
    for (const SweepRun& run : method.runs) {
      if (!run.diverged) {
        group.run_dirs.push_back(run.run_dir);
      }
    }
    groups.push_back(std::move(group));
  }
  FEDLB_ASSIGN_OR_RETURN(const std::string page,
                         RenderGroupComparison(title, groups));
  const std::string page_path = absl::StrCat(folder, "/comparison.html");
  FEDLB_RETURN_IF_ERROR(WriteFileDurably(page_path, page));
  FEDLB_RETURN_IF_ERROR(
      WriteFileDurably(absl::StrCat(folder, "/table.md"), Markdown(cells)));
  FEDLB_RETURN_IF_ERROR(
      WriteFileDurably(absl::StrCat(folder, "/table.csv"), Csv(cells)));
  result.data["page"] = page_path;
  // A NaN is written as null.
  return WriteFileDurably(
      absl::StrCat(folder, "/table.json"),
      result.data.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
}

}  // namespace

absl::Status RunSweep(const SweepFlags& flags, CommandContext& context,
                      CommandResult& result) {
  FEDLB_ASSIGN_OR_RETURN(const Sweep sweep, SweepOf(flags));
  FEDLB_ASSIGN_OR_RETURN(const std::vector<PlannedMethod> methods,
                         PlanRuns(sweep, context.flags));
  if (flags.dry_run) {
    DescribePlan(sweep, methods, result);
    return absl::OkStatus();
  }
  const std::string name =
      flags.study.empty() ? "sweep"
                          : std::filesystem::path(flags.study).stem().string();
  const auto cores = std::max<int64_t>(1, std::thread::hardware_concurrency());
  SweepFolder folder(
      flags.output.empty() ? absl::StrCat("sweeps/", name) : flags.output,
      flags.jobs > 0 ? flags.jobs : cores, context);
  result.data["folder"] = folder.path();
  context.terminal.Info(absl::StrCat("sweep folder: ", folder.path()));
  FEDLB_RETURN_IF_ERROR(folder.Create());
  std::vector<TriedSetting> tried;
  FEDLB_ASSIGN_OR_RETURN(const std::vector<SweepResult> results,
                         Compare(sweep, methods, folder, tried));
  const SweepTable table = Tabulate(results);

  result.records = "methods";
  result.data["methods"] = TableData(table);
  result.data["settings"] = Json::array();
  for (const TriedSetting& setting : tried) {
    result.data["settings"].push_back(
        {{"method", setting.method},
         {"setting", setting.setting},
         {"validation_score", setting.validation_score},
         {"diverged", setting.diverged},
         {"chosen", setting.chosen}});
  }
  result.data["equal_steps"] = table.equal_steps;
  result.data["equal_samples"] = table.equal_samples;
  result.data["equal_seconds"] = table.equal_seconds;
  FEDLB_RETURN_IF_ERROR(
      WriteTables(folder.path(), name, table, results, result));

  std::vector<std::vector<std::string>> cells = Cells(table);
  const std::vector<std::string> header = cells.front();
  cells.erase(cells.begin());
  result.text = absl::StrCat(
      tried.empty() ? "" : TriedText(tried) + "\n",
      "Test accuracy in per cent, mean ± standard "
      "deviation over seeds:\n\n",
      FormatTable(header, cells), "\n",
      FormatPairs({{"page", Printable(absl::StrCat(folder.path(),
                                                   "/comparison.html"))}}));
  return absl::OkStatus();
}

}  // namespace fedlb::cli
