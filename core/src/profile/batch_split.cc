#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <limits>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "fedlb/profile.h"
#include "fedlb/status.h"
#include "profile/describe_model.h"

namespace fedlb {
namespace {

constexpr int kBisections = 60;

// Times that differ by less are equal: fitted curves carry the rounding of the
// machine that fitted them, and no split may hang on it.
constexpr double kRelativeTie = 1e-9;

struct Device {
  ProfileModels models;
  // Between what runs, and what fits and whose time is known.
  int64_t smallest = 1;
  int64_t largest = 0;

  double Seconds(int64_t batch_size) const {
    const absl::StatusOr<Estimate> step = models.time.Predict(batch_size);
    return step.ok() ? step->value : std::numeric_limits<double>::quiet_NaN();
  }
  // The largest batch size done in `seconds`, at least the smallest.
  int64_t Within(double seconds) const {
    int64_t good = smallest;
    int64_t bad = largest + 1;
    while (bad - good > 1) {
      const int64_t middle = good + (bad - good) / 2;
      (Seconds(middle) <= seconds ? good : bad) = middle;
    }
    return good;
  }
};

// A step of fewer examples counts as taking no longer: where it was measured
// longer the machine was disturbed, and a device would be given more examples
// to be done sooner.
DeviceProfile NeverFalling(DeviceProfile profile) {
  double least = std::numeric_limits<double>::infinity();
  for (auto point = profile.points.rbegin(); point != profile.points.rend();
       ++point) {
    if (point->num_timed > 0) {
      point->step_seconds = least = std::min(point->step_seconds, least);
    }
  }
  return profile;
}

absl::StatusOr<std::vector<Device>> Read(
    const std::vector<DeviceProfile>& profiles) {
  std::vector<Device> devices;
  for (const DeviceProfile& profile : profiles) {
    const size_t number = devices.size() + 1;
    if (DescribeModel(profile) != DescribeModel(profiles[0])) {
      return InputFileError(absl::StrCat(
          "profiles of different models: device ", number, " trained ",
          DescribeModel(profile), ", device 1 ", DescribeModel(profiles[0])));
    }
    Device device;
    FEDLB_ASSIGN_OR_RETURN(device.models,
                           ProfileModels::Fit(NeverFalling(profile)));
    if (device.models.time.points().empty()) {
      return InputFileError(absl::StrCat(
          "device ", number,
          ": the profile holds no times; measure it without --memory-only"));
    }
    const auto& [largest_timed, seconds] = device.models.time.points().back();
    device.largest = std::min(
        profile.largest_safe_batch,
        device.models.time.points().size() == 1
            ? largest_timed
            : static_cast<int64_t>(BatchCurve::kLargestExtrapolation *
                                   static_cast<double>(largest_timed)));
    device.smallest = device.models.time.points().front().first;
    if (device.largest < device.smallest) {
      return OutOfMemoryError(
          absl::StrCat("device ", number, ": no batch size fits its memory"));
    }
    devices.push_back(std::move(device));
  }
  return devices;
}

// Takes from who would be last, or gives to who would be first, until `sizes`
// add up to `total`. One by one in the end: there is much to move only where
// more examples take no more time.
void Balance(const std::vector<Device>& devices, int64_t total,
             std::vector<int64_t>& sizes) {
  const auto count = static_cast<int64_t>(sizes.size());
  int64_t excess =
      std::accumulate(sizes.begin(), sizes.end(), int64_t{0}) - total;
  // Of equal times the larger batch counts as the slower.
  const auto slower = [&](size_t a, size_t b) {
    const double time_a = devices[a].Seconds(sizes[a]);
    const double time_b = devices[b].Seconds(sizes[b]);
    return std::abs(time_a - time_b) <= kRelativeTie * std::max(time_a, time_b)
               ? sizes[a] > sizes[b]
               : time_a > time_b;
  };
  while (excess != 0) {
    const bool take = excess > 0;
    size_t chosen = sizes.size();
    for (size_t k = 0; k < sizes.size(); ++k) {
      if (take ? sizes[k] == devices[k].smallest
               : sizes[k] == devices[k].largest) {
        continue;
      }
      if (chosen == sizes.size() || slower(k, chosen) == take) {
        chosen = k;
      }
    }
    const int64_t room = take ? sizes[chosen] - devices[chosen].smallest
                              : devices[chosen].largest - sizes[chosen];
    const int64_t moved =
        std::min(room, std::max<int64_t>(1, std::abs(excess) / (2 * count)));
    sizes[chosen] -= take ? moved : -moved;
    excess -= take ? moved : -moved;
  }
}

}  // namespace

absl::StatusOr<BatchSplit> SplitBatch(
    const std::vector<DeviceProfile>& profiles, int64_t global_batch) {
  if (profiles.empty()) {
    return absl::InvalidArgumentError("no devices");
  }
  const auto count = static_cast<int64_t>(profiles.size());
  if (global_batch < count) {
    return UsageError(absl::StrCat("a batch of ", global_batch, " for ", count,
                                   " devices: each needs one example"));
  }
  FEDLB_ASSIGN_OR_RETURN(const std::vector<Device> devices, Read(profiles));
  int64_t least = 0;
  int64_t most = 0;
  double slowest = 0;
  for (const Device& device : devices) {
    least += device.smallest;
    most += device.largest;
    slowest = std::max(slowest, device.Seconds(device.largest));
    for (const auto& [batch_size, seconds] : device.models.time.points()) {
      slowest = std::max(slowest, seconds);
    }
  }
  if (global_batch < least) {
    return UsageError(absl::StrCat("a batch of ", global_batch, " for ", count,
                                   " devices: the smallest that they run are ",
                                   least, " together"));
  }
  if (most < global_batch) {
    return OutOfMemoryError(absl::StrCat(
        "a batch of ", global_batch, " is more than the devices can do: ", most,
        " within their memory and what their profiles tell"));
  }
  const auto sizes_within = [&devices](double seconds) {
    std::vector<int64_t> sizes;
    for (const Device& device : devices) {
      sizes.push_back(device.Within(seconds));
    }
    return sizes;
  };
  // The least time in which all examples are done.
  double too_short = 0;
  double enough = slowest;
  for (int i = 0; i < kBisections; ++i) {
    const double middle = (too_short + enough) / 2;
    const std::vector<int64_t> sizes = sizes_within(middle);
    const int64_t done =
        std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
    (done >= global_batch ? enough : too_short) = middle;
  }
  std::vector<int64_t> sizes = sizes_within(enough * (1 + kRelativeTie));
  Balance(devices, global_batch, sizes);

  BatchSplit split;
  const int64_t equal = (global_batch + count - 1) / count;
  for (size_t k = 0; k < devices.size(); ++k) {
    const Device& device = devices[k];
    FEDLB_ASSIGN_OR_RETURN(const Estimate step,
                           device.models.time.Predict(sizes[k]));
    split.shares.push_back({.batch_size = sizes[k],
                            .largest_batch = device.largest,
                            .step_seconds = step.value,
                            .weight = static_cast<double>(sizes[k]) /
                                      static_cast<double>(global_batch)});
    split.step_seconds = std::max(split.step_seconds, step.value);
    split.deadline_seconds = std::max(split.deadline_seconds, step.high);
    // NaN once somebody cannot do it.
    const double equal_seconds = equal <= device.largest
                                     ? device.Seconds(equal)
                                     : std::numeric_limits<double>::quiet_NaN();
    split.equal_step_seconds =
        std::isnan(equal_seconds) || std::isnan(split.equal_step_seconds)
            ? std::numeric_limits<double>::quiet_NaN()
            : std::max(split.equal_step_seconds, equal_seconds);
  }
  return split;
}

std::string PrintAdvice(const BatchAdvice& advice) {
  return absl::StrCat("# Advised by fedlb profile: ", advice.reason,
                      ".\n[batch_policy]\nname = \"constant\"\nbatch_size = ",
                      advice.batch_size, "\n");
}

std::string PrintAdvice(const BatchSplit& split) {
  std::vector<int64_t> sizes;
  std::vector<std::string> speeds;
  for (const BatchSplit::Share& share : split.shares) {
    sizes.push_back(share.batch_size);
    speeds.push_back(absl::StrFormat(
        "%.6g", static_cast<double>(share.batch_size) / share.step_seconds));
  }
  return absl::StrFormat(
      "# Advised by fedlb profile: clients that finish a step together, after\n"
      "# %.4g s; a deadline of %.4g s a step loses none of them.\n"
      "[federation]\nclients = %d\ncohort_size = %d\n\n"
      "[batch_policy]\nname = \"per_client\"\nbatch_sizes = [%s]\n\n"
      "# Each device's speed at its batch size, for the clock of the "
      "simulation.\n"
      "[simulation]\nsamples_per_second = [%s]\n",
      split.step_seconds, split.deadline_seconds, sizes.size(), sizes.size(),
      absl::StrJoin(sizes, ", "), absl::StrJoin(speeds, ", "));
}

}  // namespace fedlb
