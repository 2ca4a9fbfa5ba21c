#include "aggregation/bulyan.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "aggregation/krum_choice.h"
#include "aggregation/row_kernels.h"

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

absl::StatusOr<at::Tensor> Bulyan::Combine(const UpdateRows& updates) {
  const int64_t f = options_.byzantine;
  const int64_t n = updates.size();
  const auto distances = SquaredDistances(updates.rows());
  std::vector<size_t> left(static_cast<size_t>(n));
  std::iota(left.begin(), left.end(), 0);
  std::vector<at::Tensor> chosen;
  while (static_cast<int64_t>(chosen.size()) < n - 2 * f) {
    const size_t best = ChooseByKrum(distances, left, f, 1)[0];
    chosen.push_back(updates.rows()[best]);
    left.erase(std::find(left.begin(), left.end(), best));
  }
  return MeanNearMedian(chosen, n - 4 * f);
}

}  // namespace fedlb::aggregation
