// RenderReport: metrics.jsonl, config.toml and run.json as one page.

#include <array>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "fedlb/durable_file.h"
#include "fedlb/run_directory.h"
#include "fedlb/status.h"
#include "posix_file.h"
#include "report_page.h"

namespace fedlb {
namespace {

using nlohmann::json;

constexpr int64_t kMaxMetricsBytes = 256 << 20;
constexpr int64_t kMaxTextBytes = 4 << 20;
// No line of the training loop comes near; a longer one is not parsed.
constexpr size_t kMaxLineBytes = 1 << 20;

struct Series {
  const char* key;
  const char* label;
};

struct Chart {
  const char* title;
  std::vector<Series> series;
  bool shade_critical = false;
};

const std::array<Chart, 4>& Charts() {
  static const auto& charts = *new std::array<Chart, 4>{{
      {"Accuracy",
       {{"train_accuracy", "train"},
        {"test_accuracy", "test"},
        {"test_accuracy_top5", "test, top 5"},
        {"validation_accuracy", "validation"}}},
      {"Loss",
       {{"train_loss", "train"},
        {"test_loss", "test"},
        {"validation_loss", "validation"}}},
      {"Gradient change \u0394(g)",
       {{"gradient_change", "\u0394(g)"}},
       /*shade_critical=*/true},
      {"Gain \u03b3", {{"mapper.gain", "\u03b3"}}, /*shade_critical=*/true},
  }};
  return charts;
}

// What the table shows, in this order, from the newest round that has it.
constexpr std::array<Series, 17> kFigures = {{
    {"round", "Rounds done"},
    {"rounds", "Rounds planned"},
    {"steps", "Optimizer steps"},
    {"samples", "Samples"},
    {"seconds", "Training time, s"},
    {"lr", "Learning rate"},
    {"train_loss", "Train loss"},
    {"train_accuracy", "Train accuracy"},
    {"test_loss", "Test loss"},
    {"test_accuracy", "Test accuracy"},
    {"test_accuracy_top5", "Test accuracy, top 5"},
    {"validation_loss", "Validation loss"},
    {"validation_accuracy", "Validation accuracy"},
    {"gradient_change", "Gradient change \u0394(g)"},
    {"mapper.gain", "Gain \u03b3"},
    {"survivors", "Updates used in the last round"},
    {"dropped", "Updates dropped in the last round"},
}};

std::string Escaped(absl::string_view text) {
  return absl::StrReplaceAll(text, {{"&", "&amp;"},
                                    {"<", "&lt;"},
                                    {">", "&gt;"},
                                    {"\"", "&quot;"},
                                    {"'", "&#39;"}});
}

// The rounds in the order of their lines. A line that is not one, such as the
// last of a run that was killed, is passed over.
std::vector<json> ParseRounds(absl::string_view metrics) {
  std::vector<json> rounds;
  for (const absl::string_view line : absl::StrSplit(metrics, '\n')) {
    if (line.empty() || line.size() > kMaxLineBytes) {
      continue;
    }
    json object = json::parse(line.begin(), line.end(), /*cb=*/nullptr,
                              /*allow_exceptions=*/false);
    if (!object.is_object()) {
      continue;
    }
    const auto type = object.find("type");
    const auto round = object.find("round");
    if (type != object.end() && *type == "round" && round != object.end() &&
        round->is_number_integer()) {
      rounds.push_back(std::move(object));
    }
  }
  return rounds;
}

// Null and text, which stand for values that are not finite, leave a gap.
bool HasNumber(const json& round, const char* key) {
  const auto found = round.find(key);
  return found != round.end() && found->is_number() &&
         std::isfinite(found->get<double>());
}

json ChartData(const Chart& chart, const std::vector<json>& rounds) {
  json data = {{"title", chart.title},
               {"series", json::array()},
               {"critical", json::array()}};
  for (const Series& series : chart.series) {
    json points = json::array();
    for (const json& round : rounds) {
      if (HasNumber(round, series.key)) {
        points.push_back({round["round"], round[series.key]});
      }
    }
    if (!points.empty()) {
      data["series"].push_back(
          {{"name", series.label}, {"points", std::move(points)}});
    }
  }
  if (chart.shade_critical) {
    for (const json& round : rounds) {
      // A mean over clients when the detector is theirs.
      if (HasNumber(round, "critical") &&
          round["critical"].get<double>() >= 0.5) {
        data["critical"].push_back(round["round"]);
      }
    }
  }
  return data;
}

// Inside <script> the text must not end the element; in JSON a "<" can only be
// within a string, where it may be escaped.
std::string ChartsJson(const std::vector<json>& rounds) {
  json charts = json::array();
  for (const Chart& chart : Charts()) {
    json data = ChartData(chart, rounds);
    if (!data["series"].empty()) {
      charts.push_back(std::move(data));
    }
  }
  return absl::StrReplaceAll(charts.dump(), {{"<", "\\u003c"}});
}

std::string TableRow(absl::string_view label, absl::string_view value) {
  return absl::StrCat("<tr><td>", Escaped(label), "</td><td>", Escaped(value),
                      "</td></tr>\n");
}

std::string Figure(const json& value) {
  return value.is_number_integer()
             ? value.dump()
             : absl::StrFormat("%.6g", value.get<double>());
}

std::string Table(const std::vector<json>& rounds) {
  std::string rows;
  for (const Series& figure : kFigures) {
    for (auto round = rounds.rbegin(); round != rounds.rend(); ++round) {
      if (HasNumber(*round, figure.key)) {
        absl::StrAppend(&rows,
                        TableRow(figure.label, Figure((*round)[figure.key])));
        break;
      }
    }
  }
  const json* best = nullptr;
  for (const json& round : rounds) {
    if (HasNumber(round, "test_accuracy") &&
        (best == nullptr || (*best)["test_accuracy"].get<double>() <
                                round["test_accuracy"].get<double>())) {
      best = &round;
    }
  }
  if (best != nullptr) {
    absl::StrAppend(
        &rows,
        TableRow("Best test accuracy",
                 absl::StrCat(Figure((*best)["test_accuracy"]), " (round ",
                              (*best)["round"].dump(), ")")));
  }
  return rows.empty() ? TableRow("Rounds", "none yet") : rows;
}

// A folded section with the text of a file; nothing where there is no file.
std::string FileSection(const std::string& run_dir, const char* name) {
  const absl::StatusOr<std::string> text =
      ReadWholeFile(absl::StrCat(run_dir, "/", name), kMaxTextBytes);
  if (!text.ok()) {
    return "";
  }
  return absl::StrCat("<details><summary>", name, "</summary>\n<pre>",
                      Escaped(*text), "</pre></details>\n");
}

std::string RunName(absl::string_view run_dir) {
  while (run_dir.size() > 1 && run_dir.back() == '/') {
    run_dir.remove_suffix(1);
  }
  return NameOf(run_dir);
}

absl::StatusOr<std::string> Render(const std::string& run_dir) {
  const std::string path = absl::StrCat(run_dir, "/metrics.jsonl");
  const absl::StatusOr<std::string> metrics =
      ReadWholeFile(path, kMaxMetricsBytes);
  if (absl::IsNotFound(metrics.status())) {
    return InputFileError(
        absl::StrCat(run_dir, " is not the folder of a run: no ", path));
  }
  FEDLB_RETURN_IF_ERROR(metrics.status());
  const std::vector<json> rounds = ParseRounds(*metrics);
  const std::string title = Escaped(RunName(run_dir));
  return absl::StrCat(
      kReportHead, title, " \u00b7 fedlb</title>\n</head>\n<body>\n<h1>", title,
      "</h1>\n<div class=\"charts\" id=\"charts\"></div>\n",
      "<section><h2>Final figures</h2>\n<table>\n", Table(rounds),
      "</table></section>\n", FileSection(run_dir, "config.toml"),
      FileSection(run_dir, "run.json"),
      "<script type=\"application/json\" id=\"data\">", ChartsJson(rounds),
      "</script>\n", kReportScript, "</body>\n</html>\n");
}

}  // namespace

absl::StatusOr<std::string> RenderReport(const std::string& run_dir) {
  return CatchAsStatusOr("rendering the report",
                         [&run_dir] { return Render(run_dir); });
}

}  // namespace fedlb
