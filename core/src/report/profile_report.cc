#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "fedlb/profile.h"
#include "fedlb/status.h"
#include "report/figures.h"
#include "report/page.h"

namespace fedlb {
namespace {

using nlohmann::json;

// Points between two measured ones, so that a fit is seen to bend.
constexpr int kPointsPerDoubling = 4;

json Chart(const char* id, const char* title, const char* x, const char* y) {
  return {{"id", id}, {"title", title},      {"kind", "line"},         {"x", x},
          {"y", y},   {"logarithmic", true}, {"series", json::array()}};
}

void AddSeries(json& chart, const std::string& name, json points) {
  const size_t color = chart["series"].size();
  chart["series"].push_back(
      {{"name", name}, {"color", color}, {"points", std::move(points)}});
}

json NoPoints() { return {{"round", json::array()}, {"value", json::array()}}; }

std::vector<int64_t> Between(int64_t first, int64_t last) {
  std::vector<int64_t> sizes;
  for (double b = static_cast<double>(first); b < static_cast<double>(last);
       b *= std::exp2(1.0 / kPointsPerDoubling)) {
    const auto size = static_cast<int64_t>(b);
    if (sizes.empty() || size > sizes.back()) {
      sizes.push_back(size);
    }
  }
  sizes.push_back(last);
  return sizes;
}

// The fit with its interval, and what was measured.
json CurveChart(json chart, const BatchCurve& curve, double unit) {
  if (curve.points().size() < 2) {
    return json();
  }
  json fit = {{"round", json::array()},
              {"value", json::array()},
              {"low", json::array()},
              {"high", json::array()}};
  for (const int64_t size :
       Between(curve.points().front().first, curve.points().back().first)) {
    const absl::StatusOr<Estimate> estimate = curve.Predict(size);
    if (estimate.ok()) {
      fit["round"].push_back(size);
      fit["value"].push_back(unit * estimate->value);
      fit["low"].push_back(unit * estimate->low);
      fit["high"].push_back(unit * estimate->high);
    }
  }
  AddSeries(chart, absl::StrCat(BatchCurve::ShapeName(curve.shape()), " fit"),
            std::move(fit));
  json measured = NoPoints();
  for (const auto& [size, value] : curve.points()) {
    measured["round"].push_back(size);
    measured["value"].push_back(unit * value);
  }
  AddSeries(chart, "measured", std::move(measured));
  return chart;
}

// Where a step's time goes (paper, Eq. 2).
json PhaseChart(const DeviceProfile& profile) {
  json chart = Chart("phases", "Where a step's time goes, for each example",
                     "batch size", "microseconds");
  const std::pair<const char*, double ProfilePoint::*> phases[] = {
      {"whole step", &ProfilePoint::step_seconds},
      {"data", &ProfilePoint::data_seconds},
      {"forward", &ProfilePoint::forward_seconds},
      {"backward", &ProfilePoint::backward_seconds},
      {"optimizer", &ProfilePoint::optimizer_seconds}};
  for (const auto& [name, field] : phases) {
    json points = NoPoints();
    for (const ProfilePoint& point : profile.points) {
      if (point.num_timed > 0) {
        points["round"].push_back(point.batch_size);
        points["value"].push_back(1e6 * (point.*field) /
                                  static_cast<double>(point.batch_size));
      }
    }
    AddSeries(chart, name, std::move(points));
  }
  return chart;
}

json EpochChart(const DeviceProfile& profile, const ProfileModels& models) {
  json chart =
      Chart("epoch", "Time of an epoch of a client", "batch size", "seconds");
  json points = NoPoints();
  for (const int64_t size : Between(models.time.points().front().first,
                                    models.time.points().back().first)) {
    points["round"].push_back(size);
    points["value"].push_back(
        Predict(profile, models, size).epoch_seconds.value);
  }
  AddSeries(chart, "predicted", std::move(points));
  return chart;
}

json GoodputChart(const BatchAdvice& advice) {
  json chart =
      Chart("goodput", "Progress for each second, in relation to the best",
            "batch size", "goodput");
  json points = NoPoints();
  for (const auto& [size, goodput] : advice.goodput) {
    points["round"].push_back(size);
    points["value"].push_back(goodput);
  }
  AddSeries(chart, std::isnan(advice.noise_scale) ? "throughput" : "goodput",
            std::move(points));
  return chart;
}

void AddNoiseCharts(const NoiseProfile& noise, json& charts) {
  if (noise.curve.size() < 2) {
    return;
  }
  json norms = Chart("norms",
                     "Norm of the gradient of a small and of a large "
                     "batch",
                     "round", "norm");
  json scale =
      Chart("noise_scale", "Gradient noise scale", "round", "examples");
  norms["logarithmic"] = scale["logarithmic"] = false;
  json small = NoPoints();
  json large = NoPoints();
  json noise_scale = NoPoints();
  for (const NoiseProfile::Point& point : noise.curve) {
    for (auto& [points, value] :
         {std::pair<json&, double>(small, point.small_norm),
          std::pair<json&, double>(large, point.large_norm),
          std::pair<json&, double>(noise_scale, point.noise_scale)}) {
      if (std::isfinite(value)) {
        points["round"].push_back(point.round + 1);
        points["value"].push_back(value);
      }
    }
  }
  AddSeries(norms, absl::StrCat("batch of ", noise.batch_size),
            std::move(small));
  AddSeries(norms,
            absl::StrCat("batch of ", 2 * noise.num_clients * noise.batch_size),
            std::move(large));
  AddSeries(scale, "noise scale", std::move(noise_scale));
  charts.push_back(std::move(norms));
  charts.push_back(std::move(scale));
}

std::string Row(absl::string_view name, absl::string_view value) {
  return absl::StrCat("<tr><td>", name, "</td><td>", EscapeHtml(value),
                      "</td></tr>\n");
}

std::string Mib(double bytes) {
  return absl::StrFormat("%.1f MiB", bytes / (1 << 20));
}

std::string FiguresOf(const DeviceProfile& profile, const BatchAdvice* advice) {
  std::string rows = absl::StrCat(
      Row("Largest safe batch", absl::StrCat(profile.largest_safe_batch)),
      advice == nullptr
          ? ""
          : absl::StrCat(Row("Advised batch", absl::StrCat(advice->batch_size)),
                         Row("Because", advice->reason)),
      Row("Memory between steps",
          Mib(static_cast<double>(profile.resident_bytes))),
      Row("Memory of an evaluation",
          Mib(static_cast<double>(profile.evaluation_bytes))),
      Row("Budget of tensors",
          profile.memory_budget == 0
              ? "none"
              : Mib(static_cast<double>(profile.memory_budget))),
      Row("Examples of a client",
          absl::StrFormat("%.0f", profile.client_examples)),
      Row("Steps run", absl::StrCat(profile.probe_steps)),
      Row("Seconds taken", absl::StrFormat("%.1f", profile.probe_seconds)));
  if (profile.noise.rounds > 0) {
    absl::StrAppend(&rows,
                    Row("Noise scale in examples",
                        absl::StrFormat("%.3g", profile.noise.noise_scale)),
                    Row("Drift between clients, of the squared norm",
                        absl::StrFormat("%.3g", profile.noise.drift_share)));
  }
  return absl::StrCat("<table>\n", rows, "</table>\n");
}

}  // namespace

absl::StatusOr<std::string> RenderProfileReport(const DeviceProfile& profile) {
  FEDLB_ASSIGN_OR_RETURN(const ProfileModels models,
                         ProfileModels::Fit(profile));
  constexpr double kMib = 1.0 / (1 << 20);
  constexpr double kMs = 1000;
  json charts = json::array();
  charts.push_back(
      CurveChart(Chart("memory", "Peak memory of tensors", "batch size", "MiB"),
                 models.memory, kMib));
  charts.push_back(CurveChart(
      Chart("process", "Peak memory of the process", "batch size", "MiB"),
      models.process, kMib));
  absl::StatusOr<BatchAdvice> advice = AdviseBatch(profile, models);
  if (advice.ok()) {
    charts.push_back(CurveChart(
        Chart("step", "Time of a step", "batch size", "ms"), models.time, kMs));
    if (models.time.points().size() > 1) {
      charts.push_back(PhaseChart(profile));
      charts.push_back(EpochChart(profile, models));
      charts.push_back(GoodputChart(*advice));
    }
  }
  AddNoiseCharts(profile.noise, charts);
  // What there was too little for.
  charts.erase(std::remove(charts.begin(), charts.end(), json()), charts.end());

  PageParts parts;
  parts.title = absl::StrCat("profile of ", profile.model);
  parts.heading = absl::StrCat("Profile of ", profile.model);
  parts.subtitle = profile.device;
  parts.headlines =
      Section("Figures", FiguresOf(profile, advice.ok() ? &*advice : nullptr));
  parts.sections = FileSection("profile as JSON", PrintDeviceProfile(profile));
  parts.charts = std::move(charts);
  return FillIn(parts);
}

}  // namespace fedlb
