#include "aggregation/median.h"

namespace fedlb::aggregation {

ParamSchema<CoordinateMedianOptions> CoordinateMedian::Schema() { return {}; }

absl::StatusOr<std::unique_ptr<CoordinateMedian>> CoordinateMedian::Create(
    const Options& /*options*/, const ComponentContext& /*context*/) {
  return std::make_unique<CoordinateMedian>();
}

absl::StatusOr<RowCombination> CoordinateMedian::DoChoose(
    const std::vector<UpdateFacts>& updates,
    const PairDistances& /*squared_distances*/) const {
  return RowCombination{
      .kind = RowCombination::Kind::kTrimmedMean,
      .rows = AllRows(updates.size()),
      .count = (static_cast<int64_t>(updates.size()) - 1) / 2};
}

}  // namespace fedlb::aggregation
