#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "fedlb/durable_file.h"
#include "fedlb/report.h"
#include "fedlb/status.h"
#include "fedlb/sweep.h"
#include "sweep_command.h"
#include "sweep_folder.h"
#include "sweep_plan.h"
#include "sweep_table.h"
#include "table.h"
#include "terminal.h"

namespace fedlb::cli {
namespace {

using Json = nlohmann::ordered_json;

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

// Runs and compares the settings of all methods.
absl::StatusOr<std::vector<SweepResult>> Compare(
    const Sweep& sweep, const std::vector<PlannedMethod>& methods,
    SweepFolder& folder, std::vector<TriedSetting>& tried) {
  std::vector<const PlannedRun*> tuning;
  for (const PlannedMethod& method : methods) {
    for (const PlannedSetting& setting : method.settings) {
      for (const int64_t seed : FirstSeeds(sweep, method)) {
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
          ReadRuns(folder, setting, FirstSeeds(sweep, method)));
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
                       .diverged = CountDiverged(runs[i]),
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
      WriteFileDurably(absl::StrCat(folder, "/table.csv"), Csv(table)));
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
    DescribeSweep(sweep, methods, result);
    return absl::OkStatus();
  }
  const std::string name =
      flags.study.empty() ? "sweep"
                          : std::filesystem::path(flags.study).stem().string();
  const auto cores = std::max<int64_t>(1, std::thread::hardware_concurrency());
  FEDLB_ASSIGN_OR_RETURN(
      SweepFolder folder,
      SweepFolder::Open(
          flags.output.empty() ? absl::StrCat("sweeps/", name) : flags.output,
          flags.jobs > 0 ? flags.jobs : cores, context));
  result.data["folder"] = folder.path();
  context.terminal.Info(absl::StrCat("sweep folder: ", folder.path()));
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
