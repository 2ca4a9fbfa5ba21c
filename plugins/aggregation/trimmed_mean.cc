#include "aggregation/trimmed_mean.h"

namespace fedlb::aggregation {

ParamSchema<TrimmedMeanRuleOptions> TrimmedMeanRule::Schema() {
  return ParamSchema<Options>().Add(
      "trim", &Options::trim,
      "Share of the updates whose values do not count, on each side.",
      InHalfOpen(0, 0.5));
}

absl::StatusOr<std::unique_ptr<TrimmedMeanRule>> TrimmedMeanRule::Create(
    const Options& options, const ComponentContext& /*context*/) {
  return std::unique_ptr<TrimmedMeanRule>(new TrimmedMeanRule(options));
}

absl::StatusOr<RowCombination> TrimmedMeanRule::DoChoose(
    const std::vector<UpdateFacts>& updates,
    const PairDistances& /*squared_distances*/) const {
  return RowCombination{
      .kind = RowCombination::Kind::kTrimmedMean,
      .rows = AllRows(updates.size()),
      .count = static_cast<int64_t>(
          options_.trim * static_cast<double>(updates.size()) + 1e-9)};
}

}  // namespace fedlb::aggregation
