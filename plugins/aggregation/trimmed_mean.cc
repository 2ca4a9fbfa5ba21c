#include "aggregation/trimmed_mean.h"

#include "aggregation/row_kernels.h"

namespace fedlb::aggregation {

ParamSchema<TrimmedMeanRuleOptions> TrimmedMeanRule::Schema() {
  return ParamSchema<Options>().Add(
      "trim", &Options::trim,
      "Share of the updates whose values do not count, on each side.",
      InHalfOpen(0, 0.5));
}

absl::StatusOr<std::unique_ptr<TrimmedMeanRule>> TrimmedMeanRule::Create(
    const Options& options, const ComponentContext& /*context*/) {
  return std::unique_ptr<TrimmedMeanRule>(new TrimmedMeanRule(options));
}

absl::StatusOr<at::Tensor> TrimmedMeanRule::Combine(const UpdateRows& updates) {
  const auto trimmed = static_cast<int64_t>(
      options_.trim * static_cast<double>(updates.size()) + 1e-9);
  return TrimmedMean(updates.rows(), trimmed);
}

}  // namespace fedlb::aggregation
