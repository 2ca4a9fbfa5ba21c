// The coordinate-wise trimmed mean.

#ifndef FEDLB_PLUGINS_AGGREGATION_TRIMMED_MEAN_H_
#define FEDLB_PLUGINS_AGGREGATION_TRIMMED_MEAN_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "fedlb/param_schema.h"
#include "fedlb/row_rule.h"

namespace fedlb::aggregation {

struct TrimmedMeanRuleOptions {
  double trim = 0.1;
};

// D. Yin et al., "Byzantine-Robust Distributed Learning: Towards Optimal
// Statistical Rates", ICML 2018, Definition 2: of n updates, floor(trim n) of
// the smallest and of the largest values of each coordinate do not count.
class TrimmedMeanRule final : public RowRule {
 public:
  using Options = TrimmedMeanRuleOptions;
  static constexpr char kName[] = "trimmed_mean";
  static constexpr char kSummary[] =
      "Mean of the updates in each coordinate, without the extreme values.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<TrimmedMeanRule>> Create(
      const Options& options, const ComponentContext& context);

 private:
  explicit TrimmedMeanRule(const Options& options) : options_(options) {}

  absl::StatusOr<RowCombination> DoChoose(
      const std::vector<UpdateFacts>& updates,
      const PairDistances& squared_distances) const override;

  const Options options_;
};

}  // namespace fedlb::aggregation

#endif  // FEDLB_PLUGINS_AGGREGATION_TRIMMED_MEAN_H_
