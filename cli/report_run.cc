#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "fedlb/durable_file.h"
#include "fedlb/report.h"
#include "fedlb/status.h"
#include "report_command.h"
#include "table.h"
#include "terminal.h"

namespace fedlb::cli {
namespace {

using Json = nlohmann::ordered_json;

Json SummaryData(const RunSummary& run) {
  Json data = {
      {"run_dir", run.run_dir},
      {"name", run.name},
      {"rounds", run.rounds},
      {"planned_rounds", run.planned_rounds},
      {"steps", run.steps},
      {"samples", run.samples},
      {"damaged_lines", run.damaged_lines},
      {"seconds", run.seconds},
      {"evaluation_seconds", run.evaluation_seconds},
      {"virtual_seconds", run.virtual_seconds},
      {"train", {{"loss", run.train_loss}, {"accuracy", run.train_accuracy}}},
      {"test",
       {{"loss", run.test_loss},
        {"accuracy", run.test_accuracy},
        {"accuracy_top5", run.test_accuracy_top5}}},
      {"validation", Json()},
      {"best", Json()},
      {"scaled_share", run.scaled_share},
      {"peak_memory_bytes", run.peak_bytes},
  };
  if (std::isfinite(run.validation_accuracy)) {
    data["validation"] = {{"loss", run.validation_loss},
                          {"accuracy", run.validation_accuracy}};
  }
  if (std::isfinite(run.best_accuracy)) {
    data["best"] = {{"round", run.best_round}, {"accuracy", run.best_accuracy}};
  }
  if (run.rounds_to_common > 0) {
    data["to_common_accuracy"] = {{"rounds", run.rounds_to_common},
                                  {"samples", run.samples_to_common},
                                  {"seconds", run.seconds_to_common}};
  }
  return data;
}

std::string RoundsText(const RunSummary& run) {
  return run.rounds < run.planned_rounds
             ? absl::StrCat(FormatCount(run.rounds), " of ",
                            FormatCount(run.planned_rounds))
             : FormatCount(run.rounds);
}

std::string SummaryText(const RunSummary& run, const std::string& page) {
  std::vector<std::pair<std::string, std::string>> lines = {
      {"run", Printable(run.run_dir)},
      {"name", Printable(run.name)},
      {"rounds",
       absl::StrCat(RoundsText(run), ", ", FormatCount(run.steps), " steps, ",
                    FormatCount(run.samples), " samples")},
      {"train", absl::StrCat("loss ", FormatNumber(run.train_loss, 4))},
      {"test", absl::StrCat("accuracy ", FormatNumber(run.test_accuracy, 4),
                            ", loss ", FormatNumber(run.test_loss, 4))},
  };
  if (std::isfinite(run.best_accuracy)) {
    lines.emplace_back(
        "best", absl::StrCat("accuracy ", FormatNumber(run.best_accuracy, 4),
                             " in round ", FormatCount(run.best_round)));
  }
  lines.emplace_back("time",
                     absl::StrCat(FormatSeconds(run.seconds), " of training"));
  lines.emplace_back("page", Printable(page));
  return FormatPairs(lines);
}

// One run per row, and below it where they differ.
std::string ComparisonText(const Report& report, const std::string& page) {
  std::vector<std::vector<std::string>> rows;
  for (const RunSummary& run : report.runs) {
    rows.push_back({Printable(run.run_dir), RoundsText(run),
                    FormatNumber(run.test_accuracy, 4),
                    FormatNumber(run.best_accuracy, 4),
                    FormatNumber(run.test_loss, 4), FormatCount(run.samples),
                    FormatSeconds(run.seconds)});
  }
  return absl::StrCat(
      FormatTable(
          {"RUN", "ROUNDS", "ACCURACY", "BEST", "LOSS", "SAMPLES", "TIME"},
          rows),
      "\n",
      FormatPairs(
          {{"differing settings",
            report.differing_keys.empty()
                ? "none"
                : Printable(absl::StrJoin(report.differing_keys, ", "))},
           {"page", Printable(page)}}));
}

}  // namespace

absl::Status RunReport(const ReportFlags& flags, CommandContext& context,
                       CommandResult& result) {
  FEDLB_ASSIGN_OR_RETURN(const Report report, RenderReport(flags.run_dirs));
  const bool single = report.runs.size() == 1;
  const std::string page =
      !flags.output.empty() ? flags.output
      : single ? absl::StrCat(absl::StripSuffix(flags.run_dirs.front(), "/"),
                              "/report.html")
               : "comparison.html";
  result.records = "runs";
  result.data["runs"] = Json::array();
  for (const RunSummary& run : report.runs) {
    result.data["runs"].push_back(SummaryData(run));
    if (run.damaged_lines > 0) {
      context.terminal.Warning(absl::StrCat(
          run.run_dir, "/metrics.jsonl: passed over ", run.damaged_lines,
          run.damaged_lines == 1 ? " damaged line" : " damaged lines"));
    }
  }
  if (!single) {
    result.data["differing_keys"] = report.differing_keys;
    result.data["common_accuracy"] = report.common_accuracy;
  }
  FEDLB_RETURN_IF_ERROR(WriteFileDurably(page, report.page));
  result.data["page"] = page;
  result.text = single ? SummaryText(report.runs.front(), page)
                       : ComparisonText(report, page);
  return absl::OkStatus();
}

}  // namespace fedlb::cli
