#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "config_loading.h"
#include "fedlb/config_table.h"
#include "fedlb/durable_file.h"
#include "fedlb/experiment.h"
#include "fedlb/profile.h"
#include "fedlb/registry.h"
#include "fedlb/status.h"
#include "profile_command.h"
#include "profile_file.h"
#include "table.h"
#include "terminal.h"

namespace fedlb::cli {
namespace {

using Json = nlohmann::ordered_json;

Json IntervalJson(const Estimate& estimate, double unit = 1) {
  return {unit * estimate.low, unit * estimate.high};
}

// A number of bytes is whole.
Json BytesJson(double bytes) {
  return std::isnan(bytes) ? Json() : Json(std::llround(bytes));
}

Json PredictionJson(const BatchPrediction& prediction) {
  constexpr double kMs = 1000;
  const auto bytes_interval = [](const Estimate& estimate) {
    return Json{BytesJson(estimate.low), BytesJson(estimate.high)};
  };
  Json json = {
      {"batch_size", prediction.batch_size},
      {"memory_bytes", BytesJson(prediction.memory_bytes.value)},
      {"memory_bytes_interval", bytes_interval(prediction.memory_bytes)},
      {"process_bytes", BytesJson(prediction.process_bytes.value)},
      {"process_bytes_interval", bytes_interval(prediction.process_bytes)},
      {"step_ms", kMs * prediction.step_seconds.value},
      {"step_ms_interval", IntervalJson(prediction.step_seconds, kMs)},
      {"epoch_seconds", prediction.epoch_seconds.value},
      {"epoch_seconds_interval", IntervalJson(prediction.epoch_seconds)}};
  if (!prediction.refusal.empty()) {
    json["refusal"] = prediction.refusal;
  }
  return json;
}

Json CurveJson(const BatchCurve& curve) {
  if (curve.points().empty()) {
    return Json();
  }
  Json json = {{"shape", BatchCurve::ShapeName(curve.shape())},
               {"cross_validation_error", curve.cross_validation_error()}};
  if (curve.shape() != BatchCurve::Shape::kSegments) {
    json["base"] = curve.coefficients()[0];
    json["per_example"] = curve.coefficients()[1];
  }
  if (curve.shape() == BatchCurve::Shape::kKnee) {
    json["per_example_beyond_knee"] = curve.coefficients()[2];
    json["knee"] = curve.coefficients()[3];
  }
  Json residuals = Json::array();
  const std::vector<double> errors = curve.Residuals();
  for (size_t i = 0; i < errors.size(); ++i) {
    residuals.push_back(
        {{"batch_size", curve.points()[i].first}, {"relative", errors[i]}});
  }
  json["residuals"] = std::move(residuals);
  return json;
}

std::string Percent(double share) {
  return std::isnan(share) ? "-" : absl::StrFormat("%.1f %%", 100 * share);
}

std::string Milliseconds(double seconds) {
  return std::isnan(seconds) ? "-" : FormatNumber(1000 * seconds, 3);
}

std::string EpochText(double seconds) {
  return std::isnan(seconds) ? "-"
         : seconds < 10      ? FormatNumber(seconds, 3) + " s"
                             : FormatSeconds(seconds);
}

std::string WithWidth(const std::string& text, const Estimate& estimate) {
  return std::isnan(estimate.value)
             ? "-"
             : absl::StrFormat(
                   "%s ± %.1f %%", text,
                   50 * (estimate.high - estimate.low) / estimate.value);
}

std::string FitText(const DeviceProfile& profile, const Estimate& memory) {
  if (profile.memory_budget == 0 || std::isnan(memory.value)) {
    return "";
  }
  const auto budget = static_cast<double>(profile.memory_budget);
  return memory.low > budget    ? absl::StrCat("more than the ",
                                               FormatBytes(profile.memory_budget))
         : memory.high > budget ? "may not fit"
                                : "fits";
}

std::string PredictionTable(const DeviceProfile& profile,
                            const std::vector<BatchPrediction>& predictions) {
  std::vector<std::vector<std::string>> rows;
  for (const BatchPrediction& p : predictions) {
    rows.push_back(
        {FormatCount(p.batch_size),
         WithWidth(std::isnan(p.memory_bytes.value)
                       ? ""
                       : FormatBytes(std::llround(p.memory_bytes.value)),
                   p.memory_bytes),
         WithWidth(Milliseconds(p.step_seconds.value) + " ms", p.step_seconds),
         EpochText(p.epoch_seconds.value),
         p.refusal.empty() ? FitText(profile, p.memory_bytes) : p.refusal});
  }
  return FormatTable({"BATCH", "MEMORY", "STEP", "EPOCH", ""}, rows);
}

// Where a step's time goes (paper, Eq. 2).
std::string MeasuredTable(const DeviceProfile& profile,
                          const BatchCurve& time) {
  std::vector<std::vector<std::string>> rows;
  const std::vector<double> residuals = time.Residuals();
  size_t timed = 0;
  for (const ProfilePoint& point : profile.points) {
    if (point.num_timed == 0) {
      continue;
    }
    rows.push_back(
        {FormatCount(point.batch_size), FormatBytes(point.memory_bytes),
         Milliseconds(point.step_seconds), Milliseconds(point.data_seconds),
         Milliseconds(point.forward_seconds),
         Milliseconds(point.backward_seconds),
         Milliseconds(point.optimizer_seconds), Percent(residuals[timed])});
    ++timed;
  }
  return FormatTable({"MEASURED", "MEMORY", "STEP ms", "DATA", "FORWARD",
                      "BACKWARD", "OPTIMIZER", "FIT"},
                     rows);
}

std::string SafeText(const DeviceProfile& profile) {
  return absl::StrCat(
      FormatCount(profile.largest_safe_batch),
      profile.largest_safe_was_run ? ", which was run" : ", extrapolated",
      profile.largest_safe_is_limit ? "; nothing larger was looked at" : "",
      static_cast<double>(profile.largest_safe_batch) > profile.client_examples
          ? absl::StrCat("; a client holds ",
                         FormatCount(std::llround(profile.client_examples)),
                         " examples")
          : "");
}

std::string MemoryLine(const DeviceProfile& profile, const BatchCurve& memory) {
  const auto& points = memory.points();
  std::string line =
      absl::StrCat(FormatBytes(profile.resident_bytes), " between steps");
  if (points.size() > 1) {
    const auto& [before, bytes_before] = points[points.size() - 2];
    const auto& [last, bytes_last] = points.back();
    absl::StrAppend(
        &line, ", ",
        FormatBytes(std::llround((bytes_last - bytes_before) /
                                 static_cast<double>(last - before))),
        " more for each example of a large batch");
  }
  return absl::StrCat(line, "; an evaluation takes ",
                      FormatBytes(profile.evaluation_bytes));
}

std::string NoiseText(const NoiseProfile& noise) {
  if (std::isnan(noise.noise_scale)) {
    return absl::StrCat("no signal was found in ", noise.rounds,
                        " rounds; try more --noise-rounds");
  }
  return absl::StrCat(
      "noise scale ", FormatNumber(noise.noise_scale, 3), " examples after ",
      noise.rounds, " rounds",
      noise.num_clients > 1
          ? absl::StrCat("; clients differ by ",
                         FormatNumber(noise.drift_share, 3),
                         " of the squared norm of their mean gradient")
          : "");
}

// What rounds take to move the model; "" where no link is known.
std::string DescribeCommunication(const ProfileFlags& flags,
                                  const DeviceProfile& profile,
                                  double step_seconds, Json& data) {
  LinkModel link = profile.link;
  if (flags.bandwidth_mbit > 0) {
    link.bytes_per_second = flags.bandwidth_mbit * 1e6 / 8;
    link.latency_seconds = std::max(0.0, flags.latency_ms) / 1000;
  }
  if (std::isnan(link.bytes_per_second)) {
    data = Json();
    return "";
  }
  Json rounds = Json::array();
  std::vector<std::vector<std::string>> rows;
  for (const CommunicationTime& time : PredictCommunication(
           profile.model_bytes, link, flags.compression, step_seconds)) {
    rounds.push_back({{"clients", time.clients},
                      {"star_seconds", time.star_seconds},
                      {"ring_seconds", time.ring_seconds},
                      {"star_share", time.star_share},
                      {"ring_share", time.ring_share}});
    rows.push_back(
        {FormatCount(time.clients), FormatNumber(time.star_seconds, 3),
         Percent(time.star_share), FormatNumber(time.ring_seconds, 3),
         Percent(time.ring_share)});
  }
  data = {{"source", flags.bandwidth_mbit > 0 ? "flags" : "transport"},
          {"latency_ms", 1000 * link.latency_seconds},
          {"bytes_per_second", link.bytes_per_second},
          {"compression", flags.compression},
          {"step_seconds", step_seconds},
          {"rounds", std::move(rounds)}};
  return FormatTable(
      {"CLIENTS", "STAR s", "OF A ROUND", "RING s", "OF A ROUND"}, rows);
}

// The measured sizes, or those that were asked for.
std::vector<int64_t> SizesToPredict(const ProfileFlags& flags,
                                    const DeviceProfile& profile) {
  std::vector<int64_t> sizes = flags.predict;
  if (sizes.empty()) {
    for (const ProfilePoint& point : profile.points) {
      sizes.push_back(point.batch_size);
    }
  }
  return sizes;
}

absl::StatusOr<DeviceProfile> MeasureDevice(const ProfileFlags& flags,
                                            CommandContext& context) {
  ConfigFlags settings = flags.config;
  if (!flags.memory.empty()) {
    settings.sets.push_back(absl::StrCat("execution.memory_limit=",
                                         ConfigValue(flags.memory).ToString()));
  }
  for (std::string& setting : SettingsOf(flags.role)) {
    settings.sets.push_back(std::move(setting));
  }
  ComponentRegistry registry;
  FEDLB_ASSIGN_OR_RETURN(
      const ExperimentConfig config,
      LoadExperimentConfig(settings, context.flags, registry));
  if (!flags.memory.empty() && config.execution.memory_limit.value == 0) {
    return UsageError(
        "--memory 0: nothing fits into no memory; leave the flag out to use "
        "what the machine has");
  }
  FEDLB_ASSIGN_OR_RETURN(
      const std::unique_ptr<Experiment> experiment,
      Experiment::Create(config, registry, context.terminal));
  ProfileOptions options;
  options.max_batch = flags.max_batch;
  options.time = !flags.memory_only;
  options.noise_rounds = flags.memory_only ? 0 : flags.noise_rounds;
  options.stop = &context.stop;
  for (const int64_t batch_size : flags.predict) {
    options.max_timed_batch = std::max(options.max_timed_batch, batch_size);
  }
  options.on_progress = [&context](int64_t number, int64_t planned,
                                   const std::string& what) {
    context.terminal.Show({.done = number,
                           .total = planned,
                           .unit = "measurement",
                           .details = what});
  };
  absl::StatusOr<DeviceProfile> profile = experiment->Profile(options);
  context.terminal.EndProgress();
  return profile;
}

// --devices: nothing is measured.
absl::Status ShareOut(const ProfileFlags& flags, CommandResult& result) {
  std::vector<DeviceProfile> profiles;
  int64_t global_batch = flags.global_batch;
  for (const std::string& path : flags.devices) {
    FEDLB_ASSIGN_OR_RETURN(DeviceProfile profile, ReadProfile(path));
    if (flags.global_batch == 0) {
      FEDLB_ASSIGN_OR_RETURN(const ProfileModels models,
                             ProfileModels::Fit(profile));
      const absl::StatusOr<BatchAdvice> advice = AdviseBatch(profile, models);
      FEDLB_RETURN_IF_ERROR(Annotate(advice.status(), path));
      global_batch += advice->batch_size;
    }
    profiles.push_back(std::move(profile));
  }
  FEDLB_ASSIGN_OR_RETURN(const BatchSplit split,
                         SplitBatch(profiles, global_batch));
  if (!flags.advice.empty()) {
    FEDLB_RETURN_IF_ERROR(WriteFileDurably(flags.advice, PrintAdvice(split)));
  }
  Json devices = Json::array();
  std::vector<std::vector<std::string>> rows;
  for (size_t k = 0; k < split.shares.size(); ++k) {
    const BatchSplit::Share& share = split.shares[k];
    devices.push_back({{"profile", flags.devices[k]},
                       {"device", profiles[k].device},
                       {"batch_size", share.batch_size},
                       {"largest_batch", share.largest_batch},
                       {"step_ms", 1000 * share.step_seconds},
                       {"weight", share.weight}});
    rows.push_back({Printable(flags.devices[k]), FormatCount(share.batch_size),
                    FormatCount(share.largest_batch),
                    Milliseconds(share.step_seconds),
                    FormatNumber(share.weight, 3)});
  }
  const double saved = 1 - split.step_seconds / split.equal_step_seconds;
  result.data = {{"global_batch", global_batch},
                 {"devices", std::move(devices)},
                 {"step_ms", 1000 * split.step_seconds},
                 {"equal_step_ms", 1000 * split.equal_step_seconds},
                 {"saved", saved},
                 {"deadline_ms", 1000 * split.deadline_seconds}};
  result.records = "devices";
  std::vector<std::pair<std::string, std::string>> lines = {
      {"global batch", FormatCount(global_batch)},
      {"a step takes", Milliseconds(split.step_seconds) + " ms"},
      {"with equal batches",
       std::isnan(split.equal_step_seconds)
           ? "not every device could do it"
           : absl::StrCat(Milliseconds(split.equal_step_seconds), " ms, ",
                          Percent(saved), " of which are saved")},
      {"deadline", Milliseconds(split.deadline_seconds) + " ms for each step"}};
  if (!flags.advice.empty()) {
    lines.emplace_back("advice", Printable(flags.advice));
  }
  result.text = absl::StrCat(
      FormatPairs(lines), "\n",
      FormatTable({"DEVICE", "BATCH", "LARGEST", "STEP ms", "WEIGHT"}, rows));
  return absl::OkStatus();
}

}  // namespace

absl::Status RunProfile(const ProfileFlags& flags, CommandContext& context,
                        CommandResult& result) {
  if (!flags.devices.empty()) {
    return ShareOut(flags, result);
  }
  FEDLB_ASSIGN_OR_RETURN(const DeviceProfile profile,
                         MeasureDevice(flags, context));
  const std::string stored = PrintDeviceProfile(profile);
  if (!flags.output.empty()) {
    FEDLB_RETURN_IF_ERROR(WriteFileDurably(flags.output, stored + "\n"));
  }
  FEDLB_ASSIGN_OR_RETURN(const ProfileModels models,
                         ProfileModels::Fit(profile));
  result.data = Json::parse(stored);
  result.records = "predictions";
  result.data["memory_model"] = CurveJson(models.memory);
  result.data["time_model"] = CurveJson(models.time);

  std::vector<BatchPrediction> predictions;
  Json predicted = Json::array();
  for (const int64_t batch_size : SizesToPredict(flags, profile)) {
    predictions.push_back(Predict(profile, models, batch_size));
    predicted.push_back(PredictionJson(predictions.back()));
    if (!predictions.back().refusal.empty()) {
      context.terminal.Warning(predictions.back().refusal);
    }
  }
  result.data["predictions"] = std::move(predicted);

  std::vector<std::pair<std::string, std::string>> lines = {
      {"device", Printable(profile.device)},
      {"model", absl::StrCat(Printable(profile.model), ", ",
                             FormatCount(profile.parameters), " parameters")},
      {"memory", MemoryLine(profile, models.memory)},
      {"largest safe batch", SafeText(profile)}};
  result.data["advised_batch"] = Json();
  double advised_step_seconds = std::nan("");
  if (!flags.memory_only) {
    FEDLB_ASSIGN_OR_RETURN(const BatchAdvice advice,
                           AdviseBatch(profile, models));
    if (!flags.advice.empty()) {
      FEDLB_RETURN_IF_ERROR(
          WriteFileDurably(flags.advice, PrintAdvice(advice)));
    }
    result.data["advised_batch"] = advice.batch_size;
    advised_step_seconds =
        Predict(profile, models, advice.batch_size).step_seconds.value;
    result.data["advice"] = {{"batch_size", advice.batch_size},
                             {"diminishing_from", advice.diminishing_from},
                             {"noise_scale", advice.noise_scale},
                             {"reason", advice.reason}};
    lines.emplace_back(
        "advised batch",
        absl::StrCat(FormatCount(advice.batch_size), ": ", advice.reason));
  }
  if (profile.noise.rounds > 0) {
    lines.emplace_back("gradient noise", NoiseText(profile.noise));
  }
  lines.emplace_back("measured in",
                     absl::StrCat(FormatCount(profile.probe_steps), " steps, ",
                                  FormatSeconds(profile.probe_seconds)));
  if (!flags.output.empty()) {
    lines.emplace_back("written to", Printable(flags.output));
  }
  if (!flags.report.empty()) {
    FEDLB_ASSIGN_OR_RETURN(const std::string page,
                           RenderProfileReport(profile));
    FEDLB_RETURN_IF_ERROR(WriteFileDurably(flags.report, page));
    lines.emplace_back("report", Printable(flags.report));
  }
  result.text = FormatPairs(lines);
  if (!flags.memory_only) {
    absl::StrAppend(&result.text, "\n", MeasuredTable(profile, models.time));
  }
  absl::StrAppend(&result.text, "\n", PredictionTable(profile, predictions));
  const std::string communication = DescribeCommunication(
      flags, profile, advised_step_seconds, result.data["communication"]);
  if (!communication.empty()) {
    absl::StrAppend(&result.text, "\n", communication);
  }
  return absl::OkStatus();
}

}  // namespace fedlb::cli
