#include "fedlb/report.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <set>
#include <utility>

#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "fedlb/status.h"
#include "report/charts.h"
#include "report/figures.h"
#include "report/page.h"
#include "report/run_history.h"

namespace fedlb {
namespace {

// As an image's source a picture runs no script, whatever the file holds.
std::string PartitionSection(absl::string_view svg) {
  return svg.empty()
             ? ""
             : Section("Partition: examples of each client by class",
                       absl::StrCat("<img alt=\"bars of clients by class\" "
                                    "src=\"data:image/svg+xml;base64,",
                                    absl::Base64Escape(svg), "\">\n"));
}

std::string PageOf(const RunHistory& run) {
  PageParts parts;
  const std::string& name = run.summary.name;
  parts.heading = name.empty() ? run.folder_name : name;
  parts.title = name.empty() || name == run.folder_name
                    ? run.folder_name
                    : absl::StrCat(name, " \u00b7 ", run.folder_name);
  parts.subtitle = run.summary.run_dir;
  parts.headlines = Headlines(run.summary);
  parts.sections = absl::StrCat(Section("Final figures", FiguresTable(run)),
                                PartitionSection(run.partition_picture),
                                FileSection("config.toml", run.config_text),
                                FileSection("run.json", run.record_text));
  parts.charts = ChartsOfRun(run);
  return FillIn(parts);
}

// The runs' names from their configurations, with as much of their folders as
// it takes to tell them apart.
std::vector<std::string> DistinctNames(const std::vector<RunHistory>& runs) {
  const auto names_by = [&runs](auto name_of) {
    std::vector<std::string> names;
    for (const RunHistory& run : runs) {
      names.push_back(name_of(run));
    }
    return names;
  };
  const auto distinct = [](const std::vector<std::string>& names) {
    return std::set<std::string>(names.begin(), names.end()).size() ==
               names.size() &&
           std::find(names.begin(), names.end(), "") == names.end();
  };
  std::vector<std::string> names =
      names_by([](const RunHistory& run) { return run.summary.name; });
  if (!distinct(names)) {
    names = names_by([](const RunHistory& run) { return run.folder_name; });
  }
  if (!distinct(names)) {
    names = names_by([](const RunHistory& run) { return run.summary.run_dir; });
  }
  return names;
}

std::vector<std::string> DifferingKeys(const std::vector<RunHistory>& runs) {
  std::set<std::string> keys;
  for (const RunHistory& run : runs) {
    for (const auto& [key, value] : run.settings) {
      keys.insert(key);
    }
  }
  std::vector<std::string> differing;
  for (const std::string& key : keys) {
    std::set<std::string> values;
    for (const RunHistory& run : runs) {
      const auto value = run.settings.find(key);
      values.insert(value == run.settings.end() ? "" : value->second);
    }
    if (values.size() > 1) {
      differing.push_back(key);
    }
  }
  return differing;
}

// More samples alone make a run better, and so do more rounds: what it took to
// reach one accuracy compares runs that had different amounts of either.
void CompareAtCommonAccuracy(const std::vector<RunHistory>& runs,
                             Report& report) {
  double common = RunSummary::kNone;
  for (const RunSummary& run : report.runs) {
    if (!std::isfinite(run.best_accuracy)) {
      return;
    }
    common = std::isfinite(common) ? std::min(common, run.best_accuracy)
                                   : run.best_accuracy;
  }
  report.common_accuracy = common;
  for (size_t i = 0; i < runs.size(); ++i) {
    const std::vector<CurvePoint> points =
        runs[i].curve("test_accuracy").Points();
    const auto reached = std::find_if(
        points.begin(), points.end(),
        [common](const CurvePoint& p) { return p.value >= common; });
    report.runs[i].rounds_to_common = reached->round;
    report.runs[i].samples_to_common = reached->samples;
    report.runs[i].seconds_to_common = reached->seconds;
  }
}

std::string ComparisonPage(const std::vector<RunHistory>& runs,
                           const Report& report) {
  const std::vector<std::string> names = DistinctNames(runs);
  PageParts parts;
  parts.title = absl::StrCat(runs.size(), " runs compared");
  parts.heading = parts.title;
  parts.headlines = Section("Final figures", ComparisonTable(report, names));
  parts.sections =
      Section("Settings that differ",
              report.differing_keys.empty()
                  ? "<p>None: the configurations are the same.</p>\n"
                  : SettingsTable(report.differing_keys, runs, names));
  for (size_t i = 0; i < runs.size(); ++i) {
    absl::StrAppend(
        &parts.sections,
        FileSection(absl::StrCat("config.toml of ", EscapeHtml(names[i])),
                    runs[i].config_text));
  }
  parts.charts = ChartsOfComparison(runs, names);
  return FillIn(parts);
}

absl::StatusOr<Report> Render(const std::vector<std::string>& run_dirs) {
  if (run_dirs.empty()) {
    return UsageError("a report needs the folder of at least one run");
  }
  std::vector<RunHistory> runs;
  Report report;
  for (const std::string& run_dir : run_dirs) {
    FEDLB_ASSIGN_OR_RETURN(RunHistory run, ReadRunHistory(run_dir));
    report.runs.push_back(run.summary);
    runs.push_back(std::move(run));
  }
  if (runs.size() == 1) {
    report.page = PageOf(runs.front());
    return report;
  }
  report.differing_keys = DifferingKeys(runs);
  CompareAtCommonAccuracy(runs, report);
  report.page = ComparisonPage(runs, report);
  return report;
}

}  // namespace

absl::StatusOr<std::string> RenderGroupComparison(
    const std::string& title, const std::vector<RunGroup>& groups) {
  return CatchAsStatusOr(
      "rendering the comparison", [&]() -> absl::StatusOr<std::string> {
        std::vector<std::vector<RunHistory>> histories;
        std::vector<std::string> names;
        for (const RunGroup& group : groups) {
          if (group.run_dirs.empty()) {
            continue;
          }
          histories.emplace_back();
          for (const std::string& run_dir : group.run_dirs) {
            FEDLB_ASSIGN_OR_RETURN(RunHistory run, ReadRunHistory(run_dir));
            histories.back().push_back(std::move(run));
          }
          names.push_back(absl::StrCat(group.name, " (",
                                       group.run_dirs.size(),
                                       group.run_dirs.size() == 1 ? " run)"
                                                                  : " runs)"));
        }
        PageParts parts;
        parts.title = parts.heading = title;
        parts.subtitle =
            "means over seeds, with bands of one standard deviation";
        std::vector<RunHistory> first_runs;
        for (const std::vector<RunHistory>& group : histories) {
          first_runs.push_back(group.front());
        }
        const std::vector<std::string> keys = DifferingKeys(first_runs);
        if (!keys.empty()) {
          parts.sections = Section("Settings that differ",
                                   SettingsTable(keys, first_runs, names));
        }
        parts.charts = ChartsOfGroups(histories, names);
        return FillIn(parts);
      });
}

absl::StatusOr<Report> RenderReport(const std::vector<std::string>& run_dirs) {
  return CatchAsStatusOr("rendering the report",
                         [&run_dirs] { return Render(run_dirs); });
}

}  // namespace fedlb
