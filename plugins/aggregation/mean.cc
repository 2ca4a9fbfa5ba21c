#include "aggregation/mean.h"

namespace fedlb::aggregation {

ParamSchema<MeanOptions> Mean::Schema() {
  return ParamSchema<Options>().AddChoice(
      "weighting", &Options::weighting,
      {{"examples", Weighting::kExamples}, {"uniform", Weighting::kUniform}},
      "Weight of a client: the number of examples behind its update, or the "
      "same for all (the paper's Eq 1a).");
}

absl::StatusOr<std::unique_ptr<Mean>> Mean::Create(
    const Options& options, const ComponentContext& /*context*/) {
  return std::unique_ptr<Mean>(new Mean(options));
}

absl::StatusOr<Mean::Term> Mean::Weigh(const UpdateFacts& update,
                                       Totals& totals) const {
  const double weight = WeightOf(options_.weighting, update);
  totals[0] += weight;
  return Term{.weight = weight};
}

}  // namespace fedlb::aggregation
