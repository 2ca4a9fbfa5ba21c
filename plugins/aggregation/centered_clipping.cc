#include "aggregation/centered_clipping.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

#include <ATen/core/Tensor.h>

#include "fedlb/round_task.h"
#include "fedlb/status.h"

namespace fedlb::aggregation {
namespace {

constexpr char kCenter[] = "center";

TensorLayout InDouble(TensorLayout layout) {
  for (TensorSpec& spec : layout) {
    spec.dtype = at::kDouble;
  }
  return layout;
}

}  // namespace

ParamSchema<CenteredClippingOptions> CenteredClipping::Schema() {
  return ParamSchema<Options>()
      .Add("radius", &Options::radius,
           "The L2 distance from the aggregate before that counts in full.",
           GreaterThan(0))
      .Add("iterations", &Options::iterations, "Steps in a round.", AtLeast(1));
}

absl::StatusOr<std::unique_ptr<CenteredClipping>> CenteredClipping::Create(
    const Options& options, const ComponentContext& /*context*/) {
  return std::unique_ptr<CenteredClipping>(new CenteredClipping(options));
}

ComponentState CenteredClipping::SaveState() const {
  return {.tensors = {{kCenter, center_}}};
}

absl::Status CenteredClipping::LoadState(const ComponentState& state) {
  const auto center = state.tensors.find(kCenter);
  if (center == state.tensors.end()) {
    return absl::InvalidArgumentError(
        "centered_clipping: no state of centered_clipping");
  }
  center_ = Clone(center->second);
  return absl::OkStatus();
}

absl::Status CenteredClipping::DoBegin(const TensorLayout& layout) {
  layout_ = layout;
  updates_.clear();
  if (center_.empty()) {
    center_ = Zeros(InDouble(layout));
  }
  return Annotate(CheckLayout(InDouble(layout), center_),
                  "centered_clipping: the aggregate of the round before");
}

absl::Status CenteredClipping::DoAdd(const Update& update) {
  updates_.push_back(Clone(update.parameters()));
  return absl::OkStatus();
}

absl::StatusOr<TensorList> CenteredClipping::DoFinish() {
  TensorList center = Clone(center_);
  for (int64_t i = 0; i < options_.iterations; ++i) {
    TensorList step = ZerosLike(center);
    for (const TensorList& update : updates_) {
      TensorList distance = Clone(center);
      Scale(-1, distance);
      AddScaled(update, 1, distance);
      const double length = std::sqrt(SquaredNorm(distance));
      AddScaled(distance, std::min(1.0, options_.radius / length), step);
    }
    AddScaled(step, 1 / static_cast<double>(updates_.size()), center);
  }
  updates_.clear();
  center_ = std::move(center);
  TensorList result;
  for (size_t i = 0; i < center_.size(); ++i) {
    result.push_back(center_[i].to(layout_[i].dtype, /*non_blocking=*/false,
                                   /*copy=*/true));
  }
  return result;
}

}  // namespace fedlb::aggregation
