#include "aggregation/bulyan.h"

#include <algorithm>
#include <vector>

#include "aggregation/krum_choice.h"

namespace fedlb::aggregation {

ParamSchema<BulyanOptions> Bulyan::Schema() {
  return ParamSchema<Options>().Add(
      "byzantine", &Options::byzantine,
      "Clients f that may send anything; the rule needs 4 f + 3 updates.",
      AtLeast(0));
}

absl::StatusOr<std::unique_ptr<Bulyan>> Bulyan::Create(
    const Options& options, const ComponentContext& /*context*/) {
  return std::unique_ptr<Bulyan>(new Bulyan(options));
}

absl::StatusOr<RowCombination> Bulyan::DoChoose(
    const std::vector<UpdateFacts>& updates,
    const PairDistances& squared_distances) const {
  const int64_t f = options_.byzantine;
  const auto n = static_cast<int64_t>(updates.size());
  std::vector<size_t> left = AllRows(updates.size());
  RowCombination chosen = {.kind = RowCombination::Kind::kMeanNearMedian,
                           .count = n - 4 * f};
  while (static_cast<int64_t>(chosen.rows.size()) < n - 2 * f) {
    const size_t best = ChooseByKrum(squared_distances, left, f, 1)[0];
    chosen.rows.push_back(best);
    left.erase(std::find(left.begin(), left.end(), best));
  }
  std::sort(chosen.rows.begin(), chosen.rows.end());
  return chosen;
}

}  // namespace fedlb::aggregation
