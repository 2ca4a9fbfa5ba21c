#include "aggregation/norm_clipping.h"

#include <cmath>

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

absl::StatusOr<NormClipping::Term> NormClipping::Weigh(
    const UpdateFacts& update, Totals& totals) const {
  const double weight = WeightOf(options_.weighting, update);
  totals[0] += weight;
  const double norm = std::sqrt(update.squared_norm);
  return norm > options_.max_norm
             ? Term{.weight = weight * options_.max_norm / norm,
                    .clipped = true}
             : Term{.weight = weight};
}

}  // namespace fedlb::aggregation
