#include <cstddef>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "fedlb/memory.h"
#include "fedlb/profile.h"
#include "fedlb/status.h"

namespace fedlb {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kFormat[] = "fedlb.profile/1";
constexpr size_t kMostPoints = 200;
constexpr double kLargestCount = int64_t{1} << 53;

// One list of fields for writing and for reading: `field` is called with the
// key and the member.
template <typename Profile, typename Field>
void ForEachField(Profile& profile, Field&& field) {
  field("model", profile.model);
  field("dataset", profile.dataset);
  field("optimizer", profile.optimizer);
  field("precision", profile.precision);
  field("device", profile.device);
  field("parameters", profile.parameters);
  field("model_bytes", profile.model_bytes);
  field("workers", profile.workers);
  field("train_examples", profile.train_examples);
  field("client_examples", profile.client_examples);
  field("batches_per_step", profile.batches_per_step);
  field("resident_bytes", profile.resident_bytes);
  field("evaluation_bytes", profile.evaluation_bytes);
  field("probe_steps", profile.probe_steps);
  field("probe_seconds", profile.probe_seconds);
  field("memory_budget", profile.memory_budget);
  field("process_budget", profile.process_budget);
  field("largest_safe_batch", profile.largest_safe_batch);
  field("largest_safe_was_run", profile.largest_safe_was_run);
  field("largest_safe_is_limit", profile.largest_safe_is_limit);
  field("link_latency_seconds", profile.link.latency_seconds);
  field("link_bytes_per_second", profile.link.bytes_per_second);
}

template <typename Point, typename Field>
void ForEachPointField(Point& point, Field&& field) {
  field("batch_size", point.batch_size);
  field("memory_bytes", point.memory_bytes);
  field("process_bytes", point.process_bytes);
  field("num_timed", point.num_timed);
  field("step_seconds", point.step_seconds);
  field("data_seconds", point.data_seconds);
  field("forward_seconds", point.forward_seconds);
  field("backward_seconds", point.backward_seconds);
  field("optimizer_seconds", point.optimizer_seconds);
}

template <typename Noise, typename Field>
void ForEachNoiseField(Noise& noise, Field&& field) {
  field("rounds", noise.rounds);
  field("clients", noise.num_clients);
  field("batch_size", noise.batch_size);
  field("noise_scale", noise.noise_scale);
  field("drift_share", noise.drift_share);
}

// Reads one object and remembers the first thing that is wrong with it.
class Reader {
 public:
  Reader(const Json& object, std::string where)
      : object_(object), where_(std::move(where)) {}

  template <typename T>
  void operator()(const char* key, T& out) {
    const auto found = object_.find(key);
    if (found == object_.end()) {
      Refuse(key, "is missing");
    } else if (found->is_null() && std::is_same_v<T, double>) {
      // As it was written. NaN for doubles; the other types do not come here.
      out = std::numeric_limits<T>::quiet_NaN();
    } else if (!Fits(*found, out)) {
      Refuse(key, absl::StrCat("is ", found->dump()));
    } else {
      found->get_to(out);
    }
  }

  absl::Status status() const { return status_; }

 private:
  static bool Fits(const Json& value, const std::string&) {
    return value.is_string();
  }
  static bool Fits(const Json& value, bool) { return value.is_boolean(); }
  static bool Fits(const Json& value, double) {
    return value.is_number() && value.get<double>() >= 0;
  }
  // More than double holds exactly is no count of anything here.
  static bool Fits(const Json& value, int64_t) {
    return value.is_number_integer() && value.get<double>() >= 0 &&
           value.get<double>() <= kLargestCount;
  }

  void Refuse(const char* key, const std::string& what) {
    status_.Update(InputFileError(absl::StrCat("`", where_, key, "` ", what)));
  }

  const Json& object_;
  const std::string where_;
  absl::Status status_;
};

}  // namespace

std::string PrintDeviceProfile(const DeviceProfile& profile) {
  Json json = {{"format", kFormat}};
  const auto write_to = [](Json& object) {
    return
        [&object](const char* key, const auto& value) { object[key] = value; };
  };
  ForEachField(profile, write_to(json));
  Json points = Json::array();
  for (const ProfilePoint& point : profile.points) {
    Json entry = Json::object();
    ForEachPointField(point, write_to(entry));
    Json tags = Json::object();
    for (int i = 0; i < kNumMemoryTags; ++i) {
      tags[MemoryTagName(static_cast<MemoryTag>(i))] =
          point.tag_bytes[static_cast<size_t>(i)];
    }
    entry["tag_bytes"] = std::move(tags);
    points.push_back(std::move(entry));
  }
  json["points"] = std::move(points);
  Json noise = Json::object();
  ForEachNoiseField(profile.noise, write_to(noise));
  Json layers = Json::array();
  for (const NoiseProfile::Layer& layer : profile.noise.layers) {
    layers.push_back(
        {{"name", layer.name}, {"noise_scale", layer.noise_scale}});
  }
  noise["layers"] = std::move(layers);
  Json curve = Json::array();
  for (const NoiseProfile::Point& point : profile.noise.curve) {
    curve.push_back({{"round", point.round},
                     {"small_norm", point.small_norm},
                     {"large_norm", point.large_norm},
                     {"noise_scale", point.noise_scale}});
  }
  noise["curve"] = std::move(curve);
  json["noise"] = std::move(noise);
  return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

absl::StatusOr<DeviceProfile> ParseDeviceProfile(absl::string_view text) {
  Json json = Json::parse(text, nullptr, false);
  if (json.is_object() && json.contains("data")) {
    Json data = std::move(json["data"]);
    json = std::move(data);
  }
  if (!json.is_object() || json.value("format", Json()) != kFormat) {
    return InputFileError(
        absl::StrCat("no profile of a device: `format` is not \"", kFormat,
                     "\"; make one with: fedlb profile --format json > FILE"));
  }
  DeviceProfile profile;
  Reader reader(json, "");
  ForEachField(profile, reader);
  FEDLB_RETURN_IF_ERROR(reader.status());
  // What layers and rounds showed is for people.
  const auto noise = json.find("noise");
  if (noise != json.end() && noise->is_object()) {
    Reader noise_reader(*noise, "noise/");
    ForEachNoiseField(profile.noise, noise_reader);
    FEDLB_RETURN_IF_ERROR(noise_reader.status());
  }
  const auto points = json.find("points");
  if (points == json.end() || !points->is_array() || points->empty()) {
    return InputFileError("`points` is no list of measurements");
  }
  if (points->size() > kMostPoints) {
    return InputFileError(
        absl::StrCat("`points` holds ", points->size(),
                     " measurements; no device has more than ", kMostPoints));
  }
  for (const Json& entry : *points) {
    const std::string where =
        absl::StrCat("points/", profile.points.size(), "/");
    if (!entry.is_object()) {
      return InputFileError(absl::StrCat("`", where, "` is no object"));
    }
    ProfilePoint point;
    Reader point_reader(entry, where);
    ForEachPointField(point, point_reader);
    FEDLB_RETURN_IF_ERROR(point_reader.status());
    const auto tags = entry.find("tag_bytes");
    for (int i = 0;
         tags != entry.end() && tags->is_object() && i < kNumMemoryTags; ++i) {
      const Json bytes =
          tags->value(MemoryTagName(static_cast<MemoryTag>(i)), Json(0));
      if (bytes.is_number_integer()) {
        bytes.get_to(point.tag_bytes[static_cast<size_t>(i)]);
      }
    }
    profile.points.push_back(std::move(point));
  }
  // What a forged or edited file could make the models stumble over.
  FEDLB_RETURN_IF_ERROR(
      ProfileModels::Fit(profile).status().ok()
          ? absl::OkStatus()
          : InputFileError(absl::StrCat(
                "`points`: ", ProfileModels::Fit(profile).status().message())));
  return profile;
}

}  // namespace fedlb
