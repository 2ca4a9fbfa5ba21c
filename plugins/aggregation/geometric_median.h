// The geometric median (RFA).

#ifndef FEDLB_PLUGINS_AGGREGATION_GEOMETRIC_MEDIAN_H_
#define FEDLB_PLUGINS_AGGREGATION_GEOMETRIC_MEDIAN_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "fedlb/param_schema.h"
#include "fedlb/row_rule.h"

namespace fedlb::aggregation {

struct GeometricMedianOptions {
  double smoothing = 1e-6;
  double tolerance = 1e-9;
  int64_t max_iterations = 100;
};

// K. Pillutla et al., "Robust Aggregation for Federated Learning", IEEE TSP
// 2022, Algorithm 2 (smoothed Weiszfeld), from the mean on: the mean is taken
// again with weights 1 / max(smoothing, |z - w_k|) until the sum of distances
// shrinks by less than `tolerance` of itself.
class GeometricMedian final : public RowRule {
 public:
  using Options = GeometricMedianOptions;
  static constexpr char kName[] = "geometric_median";
  static constexpr char kSummary[] =
      "The point with the least sum of distances to the updates.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<GeometricMedian>> Create(
      const Options& options, const ComponentContext& context);

  std::vector<RowPair> NeededDistances(
      const std::vector<UpdateFacts>& updates) const override {
    return AllPairs(updates.size());
  }

 private:
  explicit GeometricMedian(const Options& options) : options_(options) {}

  absl::StatusOr<RowCombination> DoChoose(
      const std::vector<UpdateFacts>& updates,
      const PairDistances& squared_distances) const override;

  const Options options_;
};

}  // namespace fedlb::aggregation

#endif  // FEDLB_PLUGINS_AGGREGATION_GEOMETRIC_MEDIAN_H_
