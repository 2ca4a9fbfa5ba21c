#include "aggregation/krum.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "aggregation/krum_choice.h"
#include "aggregation/row_kernels.h"

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

absl::StatusOr<at::Tensor> Krum::Combine(const UpdateRows& updates) {
  const int64_t f = options_.byzantine;
  std::vector<size_t> all(static_cast<size_t>(updates.size()));
  std::iota(all.begin(), all.end(), 0);
  const int64_t select =
      options_.select > 0 ? options_.select : updates.size() - f - 2;
  std::vector<size_t> chosen =
      ChooseByKrum(SquaredDistances(updates.rows()), all, f, select);
  // Sums round alike whichever of them is the best.
  std::sort(chosen.begin(), chosen.end());
  std::vector<at::Tensor> rows;
  for (const size_t index : chosen) {
    rows.push_back(updates.rows()[index]);
  }
  return TrimmedMean(rows, 0);
}

}  // namespace fedlb::aggregation
