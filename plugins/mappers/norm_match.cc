#include "mappers/norm_match.h"

#include <cmath>

#include "fedlb/status.h"
#include "fedlb/tensor_list.h"
#include "mappers/common.h"

namespace fedlb::mappers {

ParamSchema<NormMatchOptions> NormMatch::Schema() {
  return ParamSchema<Options>()
      .Add("norm", &Options::norm,
           "L2 norm of the mapped gradient of all parameters together.",
           GreaterThan(0))
      .Add("max_gain", &Options::max_gain,
           "Largest factor on the gradient; a gradient that stays short of the "
           "norm with it is left there.",
           GreaterThan(0));
}

absl::StatusOr<std::unique_ptr<NormMatch>> NormMatch::Create(
    const Options& options, const ComponentContext& /*context*/) {
  return std::unique_ptr<NormMatch>(new NormMatch(options));
}

absl::Status NormMatch::CheckOptimizer(const OptimizerTraits& traits,
                                       Logger& /*logger*/) const {
  return RefuseScaleInvariance(traits, kName);
}

absl::Status NormMatch::DoMap(const StepContext& /*context*/,
                              TensorList& gradient) {
  const double norm = std::sqrt(SquaredNorm(gradient));
  last_gain_ = norm * options_.max_gain > options_.norm ? options_.norm / norm
                                                        : options_.max_gain;
  Scale(last_gain_, gradient);
  return absl::OkStatus();
}

}  // namespace fedlb::mappers
