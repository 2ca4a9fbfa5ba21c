#include "batch/curvature.h"

#include <algorithm>
#include <cmath>

#include "batch/size_bounds.h"
#include "fedlb/status.h"

namespace fedlb::batch {
namespace {

constexpr int64_t kGrowth = 2;
constexpr double kFlatter = 0.5;

absl::Status CheckBounds(const CurvatureOptions& options) {
  return options.batch_size <= options.max_batch_size
             ? absl::OkStatus()
             : absl::InvalidArgumentError(
                   "batch_size must not be above max_batch_size");
}

}  // namespace

ParamSchema<CurvatureOptions> Curvature::Schema() {
  return ParamSchema<Options>()
      .Add("batch_size", &Options::batch_size,
           "Examples per local step of each client to begin with.", AtLeast(1))
      .Add("max_batch_size", &Options::max_batch_size, kMaxBatchSizeHelp,
           AtLeast(1))
      .Add("every", &Options::every,
           "Rounds between two looks at the curvature, each of which takes up "
           "to 11 gradients of one client.",
           AtLeast(1))
      .Add("patience", &Options::patience,
           "Looks without a change after which the batch doubles all the same.",
           AtLeast(1))
      .Check(CheckBounds);
}

absl::StatusOr<std::unique_ptr<Curvature>> Curvature::Create(
    const Options& options, const ComponentContext& /*context*/) {
  return std::unique_ptr<Curvature>(new Curvature(options));
}

absl::StatusOr<int64_t> Curvature::DoBatchSize(int64_t /*round*/,
                                               int64_t /*client*/) {
  return batch_size_;
}

absl::Status Curvature::ObserveRound(int64_t /*round*/,
                                     const ScalarMap& metrics) {
  const auto found = metrics.find("curvature");
  if (found == metrics.end() || !std::isfinite(found->second)) {
    return absl::OkStatus();
  }
  const double eigenvalue = std::abs(found->second);
  if (reference_ == 0) {
    reference_ = eigenvalue;
    return absl::OkStatus();
  }
  ++looks_;
  const bool flatter = eigenvalue <= kFlatter * reference_;
  if (flatter || looks_ >= options_.patience) {
    batch_size_ = std::min(kGrowth * batch_size_, options_.max_batch_size);
    looks_ = 0;
    if (flatter) {
      reference_ = eigenvalue;
    }
  }
  return absl::OkStatus();
}

ComponentState Curvature::SaveState() const {
  return {.scalars = {{"batch_size", static_cast<double>(batch_size_)},
                      {"reference", reference_},
                      {"looks", static_cast<double>(looks_)}}};
}

absl::Status Curvature::LoadState(const ComponentState& state) {
  const auto size = state.scalars.find("batch_size");
  const auto reference = state.scalars.find("reference");
  const auto looks = state.scalars.find("looks");
  if (size == state.scalars.end() || reference == state.scalars.end() ||
      looks == state.scalars.end() || !(size->second >= 1) ||
      size->second > static_cast<double>(options_.max_batch_size)) {
    return absl::InvalidArgumentError("no state of this policy");
  }
  batch_size_ = static_cast<int64_t>(size->second);
  reference_ = reference->second;
  looks_ = static_cast<int64_t>(looks->second);
  return absl::OkStatus();
}

}  // namespace fedlb::batch
