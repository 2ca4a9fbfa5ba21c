#include "report/charts.h"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <functional>
#include <map>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "fedlb/sweep.h"
#include "report/density.h"

namespace fedlb {
namespace {

using nlohmann::json;

struct SeriesSpec {
  const char* key;
  const char* name;
};

struct ChartSpec {
  const char* id;
  const char* title;
  const char* y;
  std::vector<SeriesSpec> series;
  bool switchable = false;
  bool shade_critical = false;
};

constexpr char kGainAxis[] = "scale factor \u03b3";

const std::vector<ChartSpec>& CurvesBeforeGain() {
  static const auto& specs = *new std::vector<ChartSpec>{
      {.id = "accuracy",
       .title = "Accuracy",
       .y = "accuracy",
       .series = {{"test_accuracy", "test"},
                  {"train_accuracy", "train"},
                  {"validation_accuracy", "validation"},
                  {"test_accuracy_top5", "test, top 5"}},
       .switchable = true},
      {.id = "loss",
       .title = "Loss",
       .y = "loss",
       .series = {{"test_loss", "test"},
                  {"train_loss", "train"},
                  {"validation_loss", "validation"}},
       .switchable = true},
      {.id = "gradient_change",
       .title = "Gradient change \u0394(g)",
       .y = "\u0394(g)",
       .series = {{"gradient_change", "\u0394(g)"}},
       .shade_critical = true},
      {.id = "gain",
       .title = "Gain \u03b3",
       .y = kGainAxis,
       .series = {{"mapper.gain", "\u03b3"}},
       .shade_critical = true},
      {.id = "gradient_norm",
       .title = "Norm of the gradient over batches of a client and of all",
       .y = "norm",
       .series = {{"client_gradient_norm", "a client\u2019s batch"},
                  {"gradient_norm", "all batches together"}}},
      {.id = "noise_scale",
       .title = "Gradient noise scale",
       .y = "examples",
       .series = {{"noise_scale", "noise scale"}}},
  };
  return specs;
}

const std::vector<ChartSpec>& CurvesAfterClients() {
  static const auto& specs = *new std::vector<ChartSpec>{
      {.id = "learning_rate",
       .title = "Learning rate",
       .y = "learning rate",
       .series = {{"lr", "learning rate"}}},
      {.id = "updates",
       .title = "Updates per round",
       .y = "updates",
       .series = {{"survivors", "used"}, {"dropped", "dropped"}}},
      {.id = "time",
       .title = "Time per round",
       .y = "seconds",
       .series = {{"round_seconds", "training"},
                  {"server_seconds", "the server\u2019s part of it"},
                  {"evaluation_seconds", "evaluation"}}},
      {.id = "client_time",
       .title = "Time per round of clients in other processes",
       .y = "seconds, mean",
       .series = {{"transport.download_seconds", "download"},
                  {"transport.work_seconds", "work"},
                  {"transport.upload_seconds", "upload"}}},
      {.id = "virtual_time",
       .title = "Simulated clients\u2019 clock",
       .y = "virtual seconds",
       .series = {{"virtual_seconds", "virtual seconds"}}},
  };
  return specs;
}

// One metric each, one series per run.
const std::vector<ChartSpec>& ComparedBeforeGain() {
  static const auto& specs = *new std::vector<ChartSpec>{
      {.id = "accuracy",
       .title = "Test accuracy",
       .y = "accuracy",
       .series = {{"test_accuracy", ""}},
       .switchable = true},
      {.id = "validation_accuracy",
       .title = "Validation accuracy",
       .y = "accuracy",
       .series = {{"validation_accuracy", ""}},
       .switchable = true},
      {.id = "loss",
       .title = "Test loss",
       .y = "loss",
       .series = {{"test_loss", ""}},
       .switchable = true},
      {.id = "train_loss",
       .title = "Train loss",
       .y = "loss",
       .series = {{"train_loss", ""}},
       .switchable = true},
      {.id = "gradient_change",
       .title = "Gradient change \u0394(g)",
       .y = "\u0394(g)",
       .series = {{"gradient_change", ""}}},
      {.id = "gain",
       .title = "Gain \u03b3",
       .y = kGainAxis,
       .series = {{"mapper.gain", ""}}},
  };
  return specs;
}

const std::vector<ChartSpec>& ComparedAfterGain() {
  static const auto& specs = *new std::vector<ChartSpec>{
      {.id = "client_accuracy",
       .title = "Accuracy of the worst client",
       .y = "accuracy",
       .series = {{"client_accuracy_min", ""}}},
      {.id = "learning_rate",
       .title = "Learning rate",
       .y = "learning rate",
       .series = {{"lr", ""}}},
      {.id = "time",
       .title = "Training time per round",
       .y = "seconds",
       .series = {{"round_seconds", ""}}},
      {.id = "virtual_time",
       .title = "Simulated clients\u2019 clock",
       .y = "virtual seconds",
       .series = {{"virtual_seconds", ""}}},
  };
  return specs;
}

// More digits than a picture shows would only make the page larger.
double Rounded(double value) {
  return std::strtod(absl::StrFormat("%.6g", value).c_str(), nullptr);
}

json Points(const Curve& curve, bool switchable, bool has_clock) {
  json points = {{"round", json::array()}, {"value", json::array()}};
  for (const CurvePoint& point : curve.Points()) {
    points["round"].push_back(point.round);
    points["value"].push_back(Rounded(point.value));
    if (switchable) {
      points["samples"].push_back(point.samples);
      points["seconds"].push_back(Rounded(point.seconds));
    }
    if (switchable && has_clock) {
      points["virtual_seconds"].push_back(Rounded(point.virtual_seconds));
    }
  }
  return points;
}

json Series(const std::string& name, size_t color, json points) {
  return {{"name", name}, {"color", color}, {"points", std::move(points)}};
}

json LineChart(absl::string_view id, absl::string_view title,
               absl::string_view y) {
  return {{"id", std::string(id)},
          {"title", std::string(title)},
          {"kind", "line"},
          {"y", std::string(y)},
          {"series", json::array()}};
}

json LineChart(const ChartSpec& spec) {
  json chart = LineChart(spec.id, spec.title, spec.y);
  if (spec.switchable) {
    chart["switchable"] = true;
  }
  return chart;
}

bool HasClock(const RunHistory& run) {
  return !run.curve("virtual_seconds").empty();
}

void AddCurves(const RunHistory& run, const std::vector<ChartSpec>& specs,
               json& charts) {
  for (const ChartSpec& spec : specs) {
    json chart = LineChart(spec);
    bool flat = true;
    for (size_t i = 0; i < spec.series.size(); ++i) {
      const Curve& curve = run.curve(spec.series[i].key);
      flat = flat && curve.flat();
      if (!curve.empty()) {
        chart["series"].push_back(
            Series(spec.series[i].name, i,
                   Points(curve, spec.switchable, HasClock(run))));
      }
    }
    if (spec.shade_critical && !run.critical.spans().empty()) {
      chart["critical"] = run.critical.spans();
    }
    if (!flat) {
      charts.push_back(std::move(chart));
    }
  }
}

// Where the detector's threshold is a value and no quantile, the curve of the
// gradient's change is read against it.
void AddThreshold(const RunHistory& run, json& charts) {
  const auto kind = run.settings.find("critical_phase.threshold_kind");
  const auto value = run.settings.find("critical_phase.threshold");
  double threshold = 0;
  if (value == run.settings.end() ||
      !absl::SimpleAtod(value->second, &threshold) ||
      (kind != run.settings.end() && kind->second != "\"absolute\"")) {
    return;
  }
  for (json& chart : charts) {
    if (chart["id"] == "gradient_change") {
      chart["level"] = {{"name", "threshold"}, {"value", threshold}};
    }
  }
}

json DensitySeries(const std::string& name, size_t color,
                   const Density& density) {
  json points = {{"x", json::array()}, {"value", json::array()}};
  for (size_t i = 0; i < density.x.size(); ++i) {
    points["x"].push_back(Rounded(density.x[i]));
    points["value"].push_back(Rounded(density.y[i]));
  }
  return Series(name, color, std::move(points));
}

// The lower panels of figures 7 and 8 of the paper, of one list of gains for
// every name.
void AddDensities(const std::vector<std::vector<double>>& gains,
                  const std::vector<std::string>& names, json& charts) {
  json chart = {{"id", "gain_density"},
                {"title", "Distribution of the gain \u03b3 over rounds"},
                {"kind", "area"},
                {"x", kGainAxis},
                {"y", "density"},
                {"series", json::array()}};
  for (size_t i = 0; i < gains.size(); ++i) {
    const Density density = EstimateDensity(gains[i]);
    if (!density.x.empty()) {
      chart["series"].push_back(DensitySeries(names[i], i, density));
    }
  }
  if (!chart["series"].empty()) {
    charts.push_back(std::move(chart));
  }
}

// What else a mapper reports, such as a cosine or a factor of clipping.
void AddMapperCurves(const RunHistory& run, json& charts) {
  for (const auto& [key, curve] : run.curves) {
    absl::string_view name = key;
    if (absl::ConsumePrefix(&name, kMapperPrefix) && name != "gain" &&
        name != "scaled" && !curve.flat()) {
      const std::string words = absl::StrReplaceAll(name, {{"_", " "}});
      json chart = LineChart(key, absl::StrCat("Mapper: ", words), words);
      chart["series"].push_back(Series(words, 0, Points(curve, false, false)));
      charts.push_back(std::move(chart));
    }
  }
}

void AddClientSpread(const RunHistory& run, json& charts) {
  const Curve& least = run.curve("client_accuracy_min");
  const Curve& largest = run.curve("client_accuracy_max");
  if (least.empty() || largest.empty() || (least.flat() && largest.flat())) {
    return;
  }
  json chart =
      LineChart("client_accuracy", "Accuracy over clients", "accuracy");
  chart["kind"] = "band";
  const std::pair<const char*, const char*> series[] = {
      {"client_accuracy_max", "best client"},
      {"client_accuracy_mean", "mean"},
      {"client_accuracy_min", "worst client"}};
  for (const auto& [key, name] : series) {
    chart["series"].push_back(
        Series(name, 0, Points(run.curve(key), false, false)));
  }
  charts.push_back(std::move(chart));
}

void AddMemory(const RunHistory& run, json& charts) {
  std::vector<std::pair<double, std::string>> tags;
  for (const auto& [key, bytes] : run.newest) {
    absl::string_view tag = key;
    if (absl::ConsumePrefix(&tag, kPeakPrefix) && tag != "total" && bytes > 0) {
      tags.emplace_back(bytes, tag);
    }
  }
  if (tags.empty()) {
    return;
  }
  std::sort(tags.begin(), tags.end(), std::greater<>());
  json chart = {{"id", "memory"},  {"title", "Peak memory of tensors"},
                {"kind", "bars"},  {"labels", json::array()},
                {"unit", "bytes"}, {"series", json::array()}};
  json values = json::array();
  for (const auto& [bytes, tag] : tags) {
    chart["labels"].push_back(tag);
    values.push_back(bytes);
  }
  chart["series"].push_back({{"name", "each purpose\u2019s own peak"},
                             {"color", 0},
                             {"values", std::move(values)}});
  charts.push_back(std::move(chart));
}

void AddCompared(const std::vector<RunHistory>& runs,
                 const std::vector<std::string>& names,
                 const std::vector<ChartSpec>& specs, json& charts) {
  // An axis that some of the runs lack cannot be switched to.
  const bool has_clock = std::all_of(runs.begin(), runs.end(), HasClock);
  for (const ChartSpec& spec : specs) {
    json chart = LineChart(spec);
    bool flat = true;
    for (size_t i = 0; i < runs.size(); ++i) {
      const Curve& curve = runs[i].curve(spec.series.front().key);
      flat = flat && curve.flat();
      if (!curve.empty()) {
        chart["series"].push_back(
            Series(names[i], i, Points(curve, spec.switchable, has_clock)));
      }
    }
    if (!flat) {
      charts.push_back(std::move(chart));
    }
  }
}

// A metric's mean over the runs of a group, round by round where all of them
// have it.
json GroupPoints(const std::vector<RunHistory>& runs, const char* key,
                 bool switchable) {
  struct Sums {
    std::vector<double> values;
    double samples = 0;
    double seconds = 0;
  };
  std::map<int64_t, Sums> rounds;
  for (const RunHistory& run : runs) {
    for (const CurvePoint& point : run.curve(key).Points()) {
      Sums& sums = rounds[point.round];
      sums.values.push_back(point.value);
      sums.samples += point.samples;
      sums.seconds += point.seconds;
    }
  }
  json points = {{"round", json::array()},
                 {"value", json::array()},
                 {"low", json::array()},
                 {"high", json::array()}};
  const auto count = static_cast<double>(runs.size());
  for (const auto& [round, sums] : rounds) {
    if (sums.values.size() != runs.size()) {
      continue;
    }
    const Spread spread = MeanAndDeviation(sums.values);
    points["round"].push_back(round);
    points["value"].push_back(Rounded(spread.mean));
    const double width = runs.size() > 1 ? spread.deviation : 0;
    points["low"].push_back(Rounded(spread.mean - width));
    points["high"].push_back(Rounded(spread.mean + width));
    if (switchable) {
      points["samples"].push_back(Rounded(sums.samples / count));
      points["seconds"].push_back(Rounded(sums.seconds / count));
    }
  }
  return points;
}

void AddGroups(const std::vector<std::vector<RunHistory>>& groups,
               const std::vector<std::string>& names,
               const std::vector<ChartSpec>& specs, json& charts) {
  for (const ChartSpec& spec : specs) {
    json chart = LineChart(spec);
    bool flat = true;
    for (size_t i = 0; i < groups.size(); ++i) {
      const char* key = spec.series.front().key;
      json points = GroupPoints(groups[i], key, spec.switchable);
      if (!points["round"].empty()) {
        flat = flat && groups[i].front().curve(key).flat();
        chart["series"].push_back(Series(names[i], i, std::move(points)));
      }
    }
    if (!flat) {
      charts.push_back(std::move(chart));
    }
  }
}

}  // namespace

json ChartsOfRun(const RunHistory& run) {
  json charts = json::array();
  AddCurves(run, CurvesBeforeGain(), charts);
  AddThreshold(run, charts);
  AddDensities({run.gains}, {"\u03b3"}, charts);
  AddMapperCurves(run, charts);
  AddClientSpread(run, charts);
  AddCurves(run, CurvesAfterClients(), charts);
  AddMemory(run, charts);
  return charts;
}

json ChartsOfComparison(const std::vector<RunHistory>& runs,
                        const std::vector<std::string>& names) {
  json charts = json::array();
  AddCompared(runs, names, ComparedBeforeGain(), charts);
  std::vector<std::vector<double>> gains;
  for (const RunHistory& run : runs) {
    gains.push_back(run.gains);
  }
  AddDensities(gains, names, charts);
  AddCompared(runs, names, ComparedAfterGain(), charts);
  return charts;
}

json ChartsOfGroups(const std::vector<std::vector<RunHistory>>& groups,
                    const std::vector<std::string>& names) {
  json charts = json::array();
  AddGroups(groups, names, ComparedBeforeGain(), charts);
  std::vector<std::vector<double>> gains;
  for (const std::vector<RunHistory>& group : groups) {
    gains.emplace_back();
    for (const RunHistory& run : group) {
      gains.back().insert(gains.back().end(), run.gains.begin(),
                          run.gains.end());
    }
  }
  AddDensities(gains, names, charts);
  AddGroups(groups, names, ComparedAfterGain(), charts);
  return charts;
}

}  // namespace fedlb
