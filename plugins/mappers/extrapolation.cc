#include "mappers/extrapolation.h"

#include <cmath>
#include <cstddef>
#include <utility>

#include "fedlb/status.h"

namespace fedlb::mappers {
namespace {

constexpr char kPrevious[] = "previous_gradient";

}  // namespace

ParamSchema<ExtrapolationOptions> Extrapolation::Schema() {
  return ParamSchema<Options>().Add(
      "ratio", &Options::ratio,
      "Length of the look-ahead in steps of the learning rate.", AtLeast(0));
}

absl::StatusOr<std::unique_ptr<Extrapolation>> Extrapolation::Create(
    const Options& options, const ComponentContext& /*context*/) {
  return std::unique_ptr<Extrapolation>(new Extrapolation(options));
}

absl::Status Extrapolation::DoMap(const StepContext& context,
                                  TensorList& gradient) {
  if (!context.may_learn) {
    return ConfigError(
        "the mapper extrapolation remembers the gradient before, which clients "
        "do not; set gradient_mapper.scope = \"server\"");
  }
  TensorList previous = std::exchange(previous_, Clone(gradient));
  last_ratio_ = 1;
  if (options_.ratio == 0) {
    return absl::OkStatus();
  }
  const double before = SquaredNorm(gradient);
  Scale(1 + options_.ratio, gradient);
  if (!previous.empty()) {
    AddScaled(previous, -options_.ratio, gradient);
  }
  if (before > 0) {
    last_ratio_ = std::sqrt(SquaredNorm(gradient) / before);
  }
  return absl::OkStatus();
}

ComponentState Extrapolation::SaveState() const {
  ComponentState state;
  if (!previous_.empty()) {
    state.tensors[kPrevious] = previous_;
  }
  return state;
}

absl::Status Extrapolation::LoadState(const ComponentState& state) {
  const auto found = state.tensors.find(kPrevious);
  const bool known = found != state.tensors.end();
  if (!state.scalars.empty() || state.tensors.size() != (known ? 1U : 0U)) {
    return absl::InvalidArgumentError(
        "the state is not one of the mapper extrapolation");
  }
  if (known) {
    FEDLB_RETURN_IF_ERROR(CheckLayout(layout_, found->second));
  }
  previous_ = known ? Clone(found->second) : TensorList();
  return absl::OkStatus();
}

}  // namespace fedlb::mappers
