#include "report/figures.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"

namespace fedlb {
namespace {

constexpr char kNothing[] = "\u2013";

std::string Number(double value) {
  return std::isfinite(value) ? absl::StrFormat("%.6g", value) : kNothing;
}

std::string Fraction(double value) {
  return std::isfinite(value) ? absl::StrFormat("%.4f", value) : kNothing;
}

std::string Count(int64_t count) {
  std::string digits = absl::StrCat(count);
  for (size_t i = digits.size(); i > (count < 0 ? 4U : 3U);) {
    i -= 3;
    digits.insert(i, 1, ',');
  }
  return digits;
}

std::string Seconds(double seconds) {
  if (!std::isfinite(seconds)) {
    return kNothing;
  }
  if (seconds < 60) {
    return absl::StrFormat("%.3g s", seconds);
  }
  const int64_t whole = std::llround(seconds);
  return whole < 3600 ? absl::StrFormat("%d:%02d min", whole / 60, whole % 60)
                      : absl::StrFormat("%d:%02d:%02d h", whole / 3600,
                                        whole / 60 % 60, whole % 60);
}

std::string Bytes(double bytes) {
  if (!std::isfinite(bytes)) {
    return kNothing;
  }
  const double kibibytes = bytes / 1024;
  return kibibytes < 1024 ? absl::StrFormat("%.0f KiB", kibibytes)
                          : absl::StrFormat("%.1f MiB", kibibytes / 1024);
}

std::string RoundsDone(const RunSummary& run) {
  return run.rounds < run.planned_rounds
             ? absl::StrCat(Count(run.rounds), " of ",
                            Count(run.planned_rounds))
             : Count(run.rounds);
}

std::string BestAccuracy(const RunSummary& run) {
  return std::isfinite(run.best_accuracy)
             ? absl::StrCat(Fraction(run.best_accuracy), " (round ",
                            Count(run.best_round), ")")
             : kNothing;
}

double SamplesPerSecond(const RunSummary& run) {
  return run.seconds > 0 ? static_cast<double>(run.samples) / run.seconds
                         : RunSummary::kNone;
}

std::string Rate(double rate) {
  return std::isfinite(rate) ? Count(std::llround(rate)) : kNothing;
}

// A column of the comparison. `value` decides which run is the best: the
// highest times `sign`; with sign 0 none is.
struct Column {
  std::string title;
  std::function<std::string(const RunSummary&)> text;
  std::function<double(const RunSummary&)> value;
  int sign = 0;
};

std::vector<Column> Columns(const Report& report) {
  using Run = const RunSummary&;
  const auto none = [](Run) { return RunSummary::kNone; };
  std::vector<Column> columns = {
      {"Rounds", RoundsDone, none},
      {"Test accuracy", [](Run run) { return Fraction(run.test_accuracy); },
       [](Run run) { return run.test_accuracy; }, 1},
      {"Best test accuracy", BestAccuracy,
       [](Run run) { return run.best_accuracy; }, 1},
      {"Test loss", [](Run run) { return Fraction(run.test_loss); },
       [](Run run) { return run.test_loss; }, -1},
      {"Train loss", [](Run run) { return Fraction(run.train_loss); },
       [](Run run) { return run.train_loss; }, -1},
      {"Samples", [](Run run) { return Count(run.samples); }, none},
      {"Training time", [](Run run) { return Seconds(run.seconds); }, none},
      {"Samples/s", [](Run run) { return Rate(SamplesPerSecond(run)); },
       SamplesPerSecond, 1},
      {"Peak memory", [](Run run) { return Bytes(run.peak_bytes); },
       [](Run run) { return run.peak_bytes; }, -1},
  };
  bool has_clock = false;
  bool scales = false;
  for (const RunSummary& run : report.runs) {
    has_clock = has_clock || std::isfinite(run.virtual_seconds);
    scales = scales || run.scaled_share > 0;
  }
  if (has_clock) {
    columns.push_back({"Virtual time",
                       [](Run run) { return Seconds(run.virtual_seconds); },
                       none});
  }
  if (scales) {
    columns.push_back({"Scaled rounds",
                       [](Run run) {
                         return std::isfinite(run.scaled_share)
                                    ? absl::StrFormat("%.1f %%",
                                                      100 * run.scaled_share)
                                    : kNothing;
                       },
                       none});
  }
  if (std::isfinite(report.common_accuracy)) {
    const std::string target = Fraction(report.common_accuracy);
    columns.push_back(
        {absl::StrCat("Rounds to ", target),
         [](Run run) { return Count(run.rounds_to_common); },
         [](Run run) { return static_cast<double>(run.rounds_to_common); },
         -1});
    columns.push_back(
        {absl::StrCat("Samples to ", target),
         [](Run run) { return Count(std::llround(run.samples_to_common)); },
         [](Run run) { return run.samples_to_common; }, -1});
    columns.push_back({absl::StrCat("Time to ", target),
                       [](Run run) { return Seconds(run.seconds_to_common); },
                       [](Run run) { return run.seconds_to_common; }, -1});
  }
  return columns;
}

// What a reader cannot tell apart is equally good.
bool LooksEqual(const Column& column, const RunSummary& a,
                const RunSummary& b) {
  return column.value(a) == column.value(b) || column.text(a) == column.text(b);
}

// Null where there is no best, or where all are equally good.
const RunSummary* BestOf(const Column& column,
                         const std::vector<RunSummary>& runs) {
  const RunSummary* best = nullptr;
  bool differ = false;
  for (const RunSummary& run : runs) {
    const double value = column.value(run);
    if (column.sign == 0 || !std::isfinite(value)) {
      continue;
    }
    differ = differ || (best != nullptr && !LooksEqual(column, run, *best));
    if (best == nullptr ||
        column.sign * value > column.sign * column.value(*best)) {
      best = &run;
    }
  }
  return differ ? best : nullptr;
}

// Ties the name to its curve; page.css has the colours.
std::string RunCell(size_t index, absl::string_view name) {
  return absl::StrCat("<th scope=\"row\"><i class=\"swatch s", index % 8,
                      "\"></i>", EscapeHtml(name), "</th>");
}

}  // namespace

std::string EscapeHtml(absl::string_view text) {
  return absl::StrReplaceAll(text, {{"&", "&amp;"},
                                    {"<", "&lt;"},
                                    {">", "&gt;"},
                                    {"\"", "&quot;"},
                                    {"'", "&#39;"}});
}

std::string Headlines(const RunSummary& run) {
  std::vector<std::pair<std::string, std::string>> tiles;
  if (std::isfinite(run.test_accuracy)) {
    tiles.emplace_back("Test accuracy", Fraction(run.test_accuracy));
    tiles.emplace_back("Best, in round " + Count(run.best_round),
                       Fraction(run.best_accuracy));
  }
  if (std::isfinite(run.test_loss)) {
    tiles.emplace_back("Test loss", Fraction(run.test_loss));
  }
  tiles.emplace_back("Rounds", RoundsDone(run));
  if (run.rounds > 0) {
    tiles.emplace_back("Samples", Count(run.samples));
    tiles.emplace_back("Training", Seconds(run.seconds));
  }
  if (std::isfinite(run.peak_bytes)) {
    tiles.emplace_back("Peak memory", Bytes(run.peak_bytes));
  }
  std::string html = "<dl class=\"tiles\">\n";
  for (const auto& [label, value] : tiles) {
    absl::StrAppend(&html, "<div><dt>", label, "</dt><dd>", value,
                    "</dd></div>\n");
  }
  return html + "</dl>\n";
}

std::string FiguresTable(const RunHistory& run) {
  const RunSummary& summary = run.summary;
  const auto newest = [&run](absl::string_view key) {
    const auto found = run.newest.find(key);
    return found == run.newest.end() ? RunSummary::kNone : found->second;
  };
  std::vector<std::pair<std::string, std::string>> rows = {
      {"Rounds", RoundsDone(summary)},
      {"Optimizer steps", Count(summary.steps)},
      {"Samples", Count(summary.samples)},
      {"Training time", Seconds(summary.seconds)},
      {"Evaluation time", Seconds(summary.evaluation_seconds)},
      {"Samples per second of training", Rate(SamplesPerSecond(summary))},
      {"Virtual time", Seconds(summary.virtual_seconds)},
      {"Learning rate", Number(newest("lr"))},
      {"Train loss", Number(summary.train_loss)},
      {"Train accuracy", Number(summary.train_accuracy)},
      {"Test loss", Number(summary.test_loss)},
      {"Test accuracy", Number(summary.test_accuracy)},
      {"Test accuracy, top 5", Number(summary.test_accuracy_top5)},
      {"Best test accuracy", BestAccuracy(summary)},
      {"Validation loss", Number(summary.validation_loss)},
      {"Validation accuracy", Number(summary.validation_accuracy)},
      {"Accuracy of the worst client", Number(newest("client_accuracy_min"))},
      {"Gradient change \u0394(g)", Number(newest("gradient_change"))},
      {"Gain \u03b3", Number(newest(kGainKey))},
      {"Share of rounds that were scaled", Number(summary.scaled_share)},
      {"Peak memory of tensors", Bytes(summary.peak_bytes)},
      {"Sent to clients", Bytes(newest("transport.bytes_to_clients"))},
      {"Sent by clients", Bytes(newest("transport.bytes_from_clients"))},
      {"Download of a client, last round",
       Seconds(newest("transport.download_seconds"))},
      {"Work of a client, last round",
       Seconds(newest("transport.work_seconds"))},
      {"Upload of a client, last round",
       Seconds(newest("transport.upload_seconds"))},
  };
  std::string html = "<table class=\"figures\">\n";
  for (const auto& [label, value] : rows) {
    if (value != kNothing) {
      absl::StrAppend(&html, "<tr><td>", label, "</td><td>", value,
                      "</td></tr>\n");
    }
  }
  return html + "</table>\n";
}

std::string ComparisonTable(const Report& report,
                            const std::vector<std::string>& names) {
  const std::vector<Column> columns = Columns(report);
  std::string html =
      "<div class=\"scroll\"><table>\n<thead><tr><th scope=\"col\">Run</th>";
  std::vector<const RunSummary*> best;
  for (const Column& column : columns) {
    absl::StrAppend(&html, "<th scope=\"col\">", column.title, "</th>");
    best.push_back(BestOf(column, report.runs));
  }
  absl::StrAppend(&html, "</tr></thead>\n<tbody>\n");
  for (size_t i = 0; i < report.runs.size(); ++i) {
    absl::StrAppend(&html, "<tr>", RunCell(i, names[i]));
    for (size_t j = 0; j < columns.size(); ++j) {
      const bool marked = best[j] != nullptr &&
                          LooksEqual(columns[j], report.runs[i], *best[j]);
      absl::StrAppend(&html, marked ? "<td class=\"best\">" : "<td>",
                      columns[j].text(report.runs[i]), "</td>");
    }
    absl::StrAppend(&html, "</tr>\n");
  }
  return html + "</tbody></table></div>\n";
}

std::string SettingsTable(const std::vector<std::string>& keys,
                          const std::vector<RunHistory>& runs,
                          const std::vector<std::string>& names) {
  std::string html =
      "<div class=\"scroll\"><table class=\"settings\">\n"
      "<thead><tr><th scope=\"col\">Key</th>";
  for (size_t i = 0; i < runs.size(); ++i) {
    absl::StrAppend(&html, "<th scope=\"col\"><i class=\"swatch s", i % 8,
                    "\"></i>", EscapeHtml(names[i]), "</th>");
  }
  absl::StrAppend(&html, "</tr></thead>\n<tbody>\n");
  for (const std::string& key : keys) {
    absl::StrAppend(&html, "<tr><th scope=\"row\"><code>", EscapeHtml(key),
                    "</code></th>");
    for (const RunHistory& run : runs) {
      const auto value = run.settings.find(key);
      absl::StrAppend(
          &html, "<td>",
          value == run.settings.end() ? kNothing : EscapeHtml(value->second),
          "</td>");
    }
    absl::StrAppend(&html, "</tr>\n");
  }
  return html + "</tbody></table></div>\n";
}

}  // namespace fedlb
