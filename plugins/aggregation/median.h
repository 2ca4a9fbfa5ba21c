// The coordinate-wise median.

#ifndef FEDLB_PLUGINS_AGGREGATION_MEDIAN_H_
#define FEDLB_PLUGINS_AGGREGATION_MEDIAN_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "fedlb/param_schema.h"
#include "fedlb/row_rule.h"

namespace fedlb::aggregation {

struct CoordinateMedianOptions {};

// D. Yin et al., "Byzantine-Robust Distributed Learning: Towards Optimal
// Statistical Rates", ICML 2018, Definition 1. Of an even number of updates the
// mean of the two middle values.
class CoordinateMedian final : public RowRule {
 public:
  using Options = CoordinateMedianOptions;
  static constexpr char kName[] = "median";
  static constexpr char kSummary[] =
      "Median of the updates in each coordinate.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<CoordinateMedian>> Create(
      const Options& options, const ComponentContext& context);

 private:
  absl::StatusOr<RowCombination> DoChoose(
      const std::vector<UpdateFacts>& updates,
      const PairDistances& squared_distances) const override;
};

}  // namespace fedlb::aggregation

#endif  // FEDLB_PLUGINS_AGGREGATION_MEDIAN_H_
