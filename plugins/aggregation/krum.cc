#include "aggregation/krum.h"

#include <algorithm>
#include <vector>

#include "aggregation/krum_choice.h"

namespace fedlb::aggregation {

ParamSchema<KrumOptions> Krum::Schema() {
  return ParamSchema<Options>()
      .Add("byzantine", &Options::byzantine,
           "Clients f that may send anything; the rule needs 2 f + 3 updates.",
           AtLeast(0))
      .Add("select", &Options::select,
           "Updates that are averaged: 1 for Krum, more for Multi-Krum, 0 for "
           "its usual n - f - 2.",
           AtLeast(0));
}

absl::StatusOr<std::unique_ptr<Krum>> Krum::Create(
    const Options& options, const ComponentContext& /*context*/) {
  return std::unique_ptr<Krum>(new Krum(options));
}

absl::StatusOr<RowCombination> Krum::DoChoose(
    const std::vector<UpdateFacts>& updates,
    const PairDistances& squared_distances) const {
  const auto count = static_cast<int64_t>(updates.size());
  const int64_t f = options_.byzantine;
  const int64_t select = options_.select > 0 ? options_.select : count - f - 2;
  RowCombination mean;
  mean.rows =
      ChooseByKrum(squared_distances, AllRows(updates.size()), f, select);
  std::sort(mean.rows.begin(), mean.rows.end());
  mean.weights.assign(mean.rows.size(), 1);
  mean.divisor = static_cast<double>(mean.rows.size());
  return mean;
}

}  // namespace fedlb::aggregation
