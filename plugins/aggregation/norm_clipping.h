// A mean of updates whose norms are bounded.

#ifndef FEDLB_PLUGINS_AGGREGATION_NORM_CLIPPING_H_
#define FEDLB_PLUGINS_AGGREGATION_NORM_CLIPPING_H_

#include <memory>

#include "absl/status/statusor.h"
#include "aggregation/linear_rule.h"
#include "aggregation/mean.h"
#include "fedlb/param_schema.h"
#include "fedlb/row_rule.h"

namespace fedlb::aggregation {

struct NormClippingOptions {
  double max_norm = 1;
  Weighting weighting = Weighting::kUniform;
};

// Z. Sun et al., "Can You Really Backdoor Federated Learning?", 2019, without
// its noise: the mean of d_k min(1, max_norm / |d_k|). No update moves the
// aggregate by more than its weight times max_norm.
class NormClipping final : public LinearRule {
 public:
  using Options = NormClippingOptions;
  static constexpr char kName[] = "norm_clipping";
  static constexpr char kSummary[] =
      "Mean of the updates, each scaled down to a largest norm.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<NormClipping>> Create(
      const Options& options, const ComponentContext& context);

  bool needs_norms() const override { return true; }

 private:
  explicit NormClipping(const Options& options) : options_(options) {}

  absl::StatusOr<Term> Weigh(const UpdateFacts& update,
                             Totals& totals) const override;
  double Divisor(const Totals& totals) const override { return totals[0]; }

  const Options options_;
};

}  // namespace fedlb::aggregation

#endif  // FEDLB_PLUGINS_AGGREGATION_NORM_CLIPPING_H_
