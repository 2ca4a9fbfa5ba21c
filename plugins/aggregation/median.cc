#include "aggregation/median.h"

#include "aggregation/row_kernels.h"

namespace fedlb::aggregation {

ParamSchema<CoordinateMedianOptions> CoordinateMedian::Schema() { return {}; }

absl::StatusOr<std::unique_ptr<CoordinateMedian>> CoordinateMedian::Create(
    const Options& /*options*/, const ComponentContext& /*context*/) {
  return std::make_unique<CoordinateMedian>();
}

absl::StatusOr<at::Tensor> CoordinateMedian::Combine(
    const UpdateRows& updates) {
  return Median(updates.rows());
}

}  // namespace fedlb::aggregation
