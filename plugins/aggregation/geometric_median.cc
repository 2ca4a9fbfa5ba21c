#include "aggregation/geometric_median.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

namespace fedlb::aggregation {

ParamSchema<GeometricMedianOptions> GeometricMedian::Schema() {
  return ParamSchema<Options>()
      .Add("smoothing", &Options::smoothing,
           "Distances below this count as this.", GreaterThan(0))
      .Add("tolerance", &Options::tolerance,
           "The search ends when the sum of distances shrinks by less than "
           "this share of itself.",
           GreaterThan(0))
      .Add("max_iterations", &Options::max_iterations,
           "Or after so many iterations.", AtLeast(1));
}

absl::StatusOr<std::unique_ptr<GeometricMedian>> GeometricMedian::Create(
    const Options& options, const ComponentContext& /*context*/) {
  return std::unique_ptr<GeometricMedian>(new GeometricMedian(options));
}

// The median is sought among the points z = sum_k a_k u_k with sum_k a_k = 1,
// where distances of updates tell those to z:
//   |z - u_k|^2 = sum_j a_j |u_j - u_k|^2 - sum_ij a_i a_j |u_i - u_j|^2 / 2.
absl::StatusOr<RowCombination> GeometricMedian::DoChoose(
    const std::vector<UpdateFacts>& updates,
    const PairDistances& squared_distances) const {
  const size_t count = updates.size();
  std::vector<double> shares(count, 1 / static_cast<double>(count));
  std::vector<double> weights(count);
  double before = 0;
  for (int64_t i = 0; i < options_.max_iterations; ++i) {
    double spread = 0;
    for (size_t k = 0; k < count; ++k) {
      weights[k] = std::inner_product(shares.begin(), shares.end(),
                                      squared_distances[k].begin(), 0.0);
      spread += shares[k] * weights[k];
    }
    double distances = 0;
    double total = 0;
    for (double& weight : weights) {
      const double distance = std::sqrt(std::max(0.0, weight - spread / 2));
      distances += distance;
      weight = 1 / std::max(options_.smoothing, distance);
      total += weight;
    }
    if (i > 0 && before - distances <= options_.tolerance * before) {
      break;
    }
    before = distances;
    for (size_t k = 0; k < count; ++k) {
      shares[k] = weights[k] / total;
    }
  }
  return RowCombination{.kind = RowCombination::Kind::kWeightedSum,
                        .rows = AllRows(count),
                        .weights = std::move(shares)};
}

}  // namespace fedlb::aggregation
