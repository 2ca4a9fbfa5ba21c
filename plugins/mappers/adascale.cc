#include "mappers/adascale.h"

#include <algorithm>
#include <cmath>

#include "fedlb/status.h"
#include "fedlb/tensor_list.h"
#include "mappers/common.h"

namespace fedlb::mappers {
namespace {

constexpr double kSmallestVariance = 1e-6;

// Names in the state.
constexpr char kVariance[] = "variance";
constexpr char kSquaredNorm[] = "squared_norm";
constexpr char kMissingWeight[] = "missing_weight";

}  // namespace

ParamSchema<AdaScaleOptions> AdaScale::Schema() {
  return ParamSchema<Options>().Add("small_batch_size",
                                    &Options::small_batch_size,
                                    kSmallBatchDescription, AtLeast(1));
}

absl::StatusOr<std::unique_ptr<AdaScale>> AdaScale::Create(
    const Options& options, const ComponentContext& /*context*/) {
  return std::unique_ptr<AdaScale>(new AdaScale(options));
}

absl::Status AdaScale::CheckOptimizer(const OptimizerTraits& traits,
                                      Logger& /*logger*/) const {
  return RefuseScaleInvariance(traits, kName);
}

double AdaScale::ScaleOf(const StepContext& context) const {
  return std::max(1.0, static_cast<double>(context.batch_size) /
                           static_cast<double>(options_.small_batch_size));
}

absl::Status AdaScale::Learn(const StepContext& context, double squared_norm) {
  FEDLB_RETURN_IF_ERROR(NeedTwoMeans(context, kName));
  const auto means = static_cast<double>(context.partial_means.size());
  double of_means = 0;
  for (const TensorList& mean : context.partial_means) {
    of_means += SquaredNorm(mean) / means;
  }
  const double scale = ScaleOf(context);
  const double true_norm =
      std::max(0.0, (means * squared_norm - of_means) / (means - 1));
  const double variance = std::max(
      kSmallestVariance, (of_means - squared_norm) * scale / (means - 1));
  const double decay = std::max(0.0, 1 - scale / 1000);
  variance_ = decay * variance_ + (1 - decay) * variance;
  squared_norm_ = decay * squared_norm_ + (1 - decay) * true_norm;
  missing_weight_ *= decay;
  return absl::OkStatus();
}

absl::Status AdaScale::DoMap(const StepContext& context, TensorList& gradient) {
  if (context.may_learn) {
    FEDLB_RETURN_IF_ERROR(Learn(context, SquaredNorm(gradient)));
  }
  // The correction cancels in the ratio.
  const double scale = ScaleOf(context);
  last_gain_ = missing_weight_ == 1 ? 1
                                    : (variance_ + squared_norm_) /
                                          (variance_ / scale + squared_norm_);
  if (last_gain_ != 1) {
    Scale(last_gain_, gradient);
  }
  return absl::OkStatus();
}

absl::Status AdaScale::ObserveAggregate(const StepContext& context,
                                        const TensorList& /*aggregate*/) {
  if (context.partial_means.empty()) {
    return absl::InvalidArgumentError("no gradients to learn from");
  }
  // The aggregate is of mapped gradients; the partial means are not.
  return Learn(context, SquaredNorm(MeanOf(context.partial_means)));
}

ComponentState AdaScale::SaveState() const {
  return {.tensors = {},
          .scalars = {{kVariance, variance_},
                      {kSquaredNorm, squared_norm_},
                      {kMissingWeight, missing_weight_}}};
}

absl::Status AdaScale::LoadState(const ComponentState& state) {
  const ScalarMap& scalars = state.scalars;
  if (!state.tensors.empty() || scalars.size() != 3 ||
      !scalars.contains(kVariance) || !scalars.contains(kSquaredNorm) ||
      !scalars.contains(kMissingWeight)) {
    return absl::InvalidArgumentError(
        "the state is not one of the mapper adascale");
  }
  for (const auto& [name, value] : scalars) {
    if (!(value >= 0) || !std::isfinite(value)) {
      return absl::InvalidArgumentError(
          "the state of the mapper adascale is damaged");
    }
  }
  variance_ = scalars.at(kVariance);
  squared_norm_ = scalars.at(kSquaredNorm);
  missing_weight_ = scalars.at(kMissingWeight);
  return absl::OkStatus();
}

}  // namespace fedlb::mappers
