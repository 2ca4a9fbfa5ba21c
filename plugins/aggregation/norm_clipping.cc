#include "aggregation/norm_clipping.h"

#include <cmath>

#include "fedlb/round_task.h"
#include "fedlb/tensor_list.h"

namespace fedlb::aggregation {

ParamSchema<NormClippingOptions> NormClipping::Schema() {
  return ParamSchema<Options>()
      .Add("max_norm", &Options::max_norm,
           "The largest L2 norm of an update that counts in full.",
           GreaterThan(0))
      .AddChoice(
          "weighting", &Options::weighting,
          {{"examples", Weighting::kExamples},
           {"uniform", Weighting::kUniform}},
          "Weight of a client: the same for all, or the number of examples "
          "behind its update, which a hostile client may make up.");
}

absl::StatusOr<std::unique_ptr<NormClipping>> NormClipping::Create(
    const Options& options, const ComponentContext& /*context*/) {
  return std::unique_ptr<NormClipping>(new NormClipping(options));
}

absl::Status NormClipping::DoBegin(const TensorLayout& layout) {
  clipped_.Begin(layout);
  total_weight_ = 0;
  return absl::OkStatus();
}

absl::Status NormClipping::DoAdd(const Update& update) {
  const double weight = options_.weighting == Weighting::kExamples
                            ? static_cast<double>(update.num_examples)
                            : 1;
  const double norm = std::sqrt(SquaredNorm(update.parameters()));
  clipped_.Add(update.parameters(), norm > options_.max_norm
                                        ? weight * options_.max_norm / norm
                                        : weight);
  total_weight_ += weight;
  return absl::OkStatus();
}

absl::StatusOr<TensorList> NormClipping::DoFinish() {
  // The mean divides by the clipped weights.
  TensorList result = clipped_.Mean();
  Scale(clipped_.total_weight() / total_weight_, result);
  return result;
}

}  // namespace fedlb::aggregation
