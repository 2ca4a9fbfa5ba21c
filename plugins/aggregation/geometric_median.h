// The geometric median (RFA).

#ifndef FEDLB_PLUGINS_AGGREGATION_GEOMETRIC_MEDIAN_H_
#define FEDLB_PLUGINS_AGGREGATION_GEOMETRIC_MEDIAN_H_

#include <cstdint>
#include <memory>

#include <ATen/core/Tensor.h>

#include "absl/status/statusor.h"
#include "aggregation/row_rule.h"
#include "aggregation/update_rows.h"
#include "fedlb/param_schema.h"

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

 private:
  explicit GeometricMedian(const Options& options) : options_(options) {}

  absl::StatusOr<at::Tensor> Combine(const UpdateRows& updates) override;

  const Options options_;
};

}  // namespace fedlb::aggregation

#endif  // FEDLB_PLUGINS_AGGREGATION_GEOMETRIC_MEDIAN_H_
