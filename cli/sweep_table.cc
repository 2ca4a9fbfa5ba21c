#include "sweep_table.h"

#include <cmath>
#include <cstddef>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "table.h"

namespace fedlb::cli {
namespace {

using Json = nlohmann::ordered_json;

Json SpreadData(const Spread& spread) {
  return {{"mean", spread.mean}, {"deviation", spread.deviation}};
}

struct SpreadColumn {
  const char* name;
  Spread SweepRow::*spread;
};

constexpr SpreadColumn kSpreadColumns[] = {
    {"final", &SweepRow::final_accuracy},
    {"last_three", &SweepRow::last_three},
    {"at_equal_steps", &SweepRow::at_equal_steps},
    {"at_equal_samples", &SweepRow::at_equal_samples},
    {"at_equal_seconds", &SweepRow::at_equal_seconds}};

// "86.94 ± 0.09", in per cent.
std::string SpreadText(const Spread& spread) {
  if (!std::isfinite(spread.mean)) {
    return "-";
  }
  if (!std::isfinite(spread.deviation)) {
    return absl::StrFormat("%.2f", 100 * spread.mean);
  }
  return absl::StrFormat("%.2f ± %.2f", 100 * spread.mean,
                         100 * spread.deviation);
}

}  // namespace

void DescribeSweep(const Sweep& sweep,
                   const std::vector<PlannedMethod>& methods,
                   CommandResult& result) {
  std::vector<std::vector<std::string>> rows;
  int64_t total = 0;
  result.records = "methods";
  result.data["methods"] = Json::array();
  for (const PlannedMethod& method : methods) {
    const auto settings = static_cast<int64_t>(method.settings.size());
    const std::vector<int64_t>& first = FirstSeeds(sweep, method);
    // The chosen setting goes on with the seeds that it has not run with.
    std::set<int64_t> compared(sweep.seeds.begin(), sweep.seeds.end());
    for (const int64_t seed : first) {
      compared.erase(seed);
    }
    const int64_t runs = settings * static_cast<int64_t>(first.size()) +
                         static_cast<int64_t>(compared.size());
    total += runs;
    rows.push_back({method.name, absl::StrCat(settings), absl::StrCat(runs)});
    result.data["methods"].push_back(
        {{"method", method.name}, {"settings", settings}, {"runs", runs}});
  }
  result.data["runs"] = total;
  result.text = absl::StrCat(FormatTable({"METHOD", "SETTINGS", "RUNS"}, rows),
                             FormatCount(total), " runs in all\n");
}

Json TableData(const SweepTable& table) {
  Json rows = Json::array();
  for (const SweepRow& row : table.rows) {
    Json data = {{"method", row.method},
                 {"setting", row.setting},
                 {"runs", row.runs},
                 {"diverged", row.diverged},
                 {"validation_score", row.validation_score}};
    for (const SpreadColumn& column : kSpreadColumns) {
      data[column.name] = SpreadData(row.*column.spread);
    }
    rows.push_back(std::move(data));
  }
  return rows;
}

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
    std::vector<std::string> line = {
        row.method, row.setting.empty() ? "-" : row.setting, std::move(runs)};
    for (const SpreadColumn& column : kSpreadColumns) {
      line.push_back(SpreadText(row.*column.spread));
    }
    cells.push_back(std::move(line));
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

std::string Csv(const SweepTable& table) {
  const auto quoted = [](absl::string_view text) {
    return absl::StrCat("\"", absl::StrReplaceAll(text, {{"\"", "\"\""}}),
                        "\"");
  };
  std::vector<std::string> header = {"method", "setting", "runs", "diverged",
                                     "validation_score"};
  for (const SpreadColumn& column : kSpreadColumns) {
    header.push_back(absl::StrCat(column.name, "_mean"));
    header.push_back(absl::StrCat(column.name, "_deviation"));
  }
  std::string text = absl::StrCat(absl::StrJoin(header, ","), "\n");
  const auto number = [](double value) {
    return std::isfinite(value) ? absl::StrFormat("%.8g", value) : "";
  };
  for (const SweepRow& row : table.rows) {
    std::vector<std::string> cells = {
        quoted(row.method), quoted(row.setting), absl::StrCat(row.runs),
        absl::StrCat(row.diverged), number(row.validation_score)};
    for (const SpreadColumn& column : kSpreadColumns) {
      cells.push_back(number((row.*column.spread).mean));
      cells.push_back(number((row.*column.spread).deviation));
    }
    absl::StrAppend(&text, absl::StrJoin(cells, ","), "\n");
  }
  return text;
}

std::string TriedText(const std::vector<TriedSetting>& tried) {
  std::vector<std::vector<std::string>> rows;
  for (const TriedSetting& setting : tried) {
    rows.push_back({setting.method, setting.setting,
                    SpreadText({.mean = setting.validation_score}),
                    absl::StrCat(setting.diverged),
                    setting.chosen ? "yes" : ""});
  }
  return FormatTable({"METHOD", "SETTING", "VALIDATION", "DIVERGED", "CHOSEN"},
                     rows);
}

}  // namespace fedlb::cli
