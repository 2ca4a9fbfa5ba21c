#include "batch/noise_scale.h"

#include <algorithm>
#include <cmath>

#include "batch/size_bounds.h"
#include "fedlb/status.h"

namespace fedlb::batch {
namespace {

constexpr double kLargestChange = 2;

}  // namespace

ParamSchema<NoiseScaleOptions> NoiseScale::Schema() {
  return ParamSchema<Options>()
      .Add("batch_size", &Options::batch_size,
           "Examples per local step of each client to begin with.", AtLeast(1))
      .Add("min_batch_size", &Options::min_batch_size, kMinBatchSizeHelp,
           AtLeast(1))
      .Add("max_batch_size", &Options::max_batch_size, kMaxBatchSizeHelp,
           AtLeast(1))
      .Add("ratio", &Options::ratio,
           "Examples of all clients' batches together, in noise scales.",
           GreaterThan(0))
      .Add("every", &Options::every, "Rounds between two changes.", AtLeast(1))
      .Add("dead_band", &Options::dead_band,
           "A change by a smaller share is not made.", AtLeast(0))
      .Check(CheckSizeBounds<NoiseScaleOptions>);
}

absl::StatusOr<std::unique_ptr<NoiseScale>> NoiseScale::Create(
    const Options& options, const ComponentContext& /*context*/) {
  return std::unique_ptr<NoiseScale>(new NoiseScale(options));
}

absl::StatusOr<int64_t> NoiseScale::DoBatchSize(int64_t /*round*/,
                                                int64_t /*client*/) {
  return batch_size_;
}

absl::Status NoiseScale::ObserveRound(int64_t round, const ScalarMap& metrics) {
  const auto scale = metrics.find("noise_scale");
  const auto clients = metrics.find("survivors");
  if ((round + 1) % options_.every != 0 || scale == metrics.end() ||
      clients == metrics.end() || !std::isfinite(scale->second)) {
    return absl::OkStatus();
  }
  const auto now = static_cast<double>(batch_size_);
  double wanted = options_.ratio * scale->second / clients->second;
  if (std::abs(wanted / now - 1) <= options_.dead_band) {
    return absl::OkStatus();
  }
  wanted = std::clamp(wanted, now / kLargestChange, now * kLargestChange);
  batch_size_ = std::clamp(static_cast<int64_t>(std::llround(wanted)),
                           options_.min_batch_size, options_.max_batch_size);
  return absl::OkStatus();
}

ComponentState NoiseScale::SaveState() const {
  return {.scalars = {{"batch_size", static_cast<double>(batch_size_)}}};
}

absl::Status NoiseScale::LoadState(const ComponentState& state) {
  const auto size = state.scalars.find("batch_size");
  if (size == state.scalars.end() || !(size->second >= 1) ||
      size->second > static_cast<double>(options_.max_batch_size)) {
    return absl::InvalidArgumentError("no batch size of this policy");
  }
  batch_size_ = static_cast<int64_t>(size->second);
  return absl::OkStatus();
}

}  // namespace fedlb::batch
