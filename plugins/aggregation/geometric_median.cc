#include "aggregation/geometric_median.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "aggregation/row_kernels.h"

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

absl::StatusOr<at::Tensor> GeometricMedian::Combine(const UpdateRows& updates) {
  at::Tensor point = TrimmedMean(updates.rows(), 0);
  double before = 0;
  for (int64_t i = 0; i < options_.max_iterations; ++i) {
    std::vector<double> weights = SquaredDistancesTo(updates.rows(), point);
    double distances = 0;
    double total = 0;
    for (double& weight : weights) {
      const double distance = std::sqrt(weight);
      distances += distance;
      weight = 1 / std::max(options_.smoothing, distance);
      total += weight;
    }
    if (i > 0 && before - distances <= options_.tolerance * before) {
      break;
    }
    before = distances;
    for (double& weight : weights) {
      weight /= total;
    }
    point = WeightedSum(updates.rows(), weights);
  }
  return point;
}

}  // namespace fedlb::aggregation
