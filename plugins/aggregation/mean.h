// The mean of the clients' updates.

#ifndef FEDLB_PLUGINS_AGGREGATION_MEAN_H_
#define FEDLB_PLUGINS_AGGREGATION_MEAN_H_

#include <memory>

#include "absl/status/statusor.h"
#include "aggregation/linear_rule.h"
#include "fedlb/param_schema.h"
#include "fedlb/row_rule.h"

namespace fedlb::aggregation {

enum class Weighting { kExamples, kUniform };

// What a client's update weighs.
inline double WeightOf(Weighting weighting, const UpdateFacts& update) {
  return weighting == Weighting::kExamples
             ? static_cast<double>(update.num_examples)
             : 1;
}

struct MeanOptions {
  Weighting weighting = Weighting::kExamples;
};

// H. B. McMahan et al., "Communication-Efficient Learning of Deep Networks from
// Decentralized Data", AISTATS 2017, Algorithm 1. Weighted by examples, the
// mean of the clients' mean gradients is the mean over all their examples.
class Mean final : public LinearRule {
 public:
  using Options = MeanOptions;
  static constexpr char kName[] = "mean";
  static constexpr char kSummary[] =
      "Mean of the updates, weighted by examples or uniform.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Mean>> Create(
      const Options& options, const ComponentContext& context);

 private:
  explicit Mean(const Options& options) : options_(options) {}

  absl::StatusOr<Term> Weigh(const UpdateFacts& update,
                             Totals& totals) const override;
  double Divisor(const Totals& totals) const override { return totals[0]; }

  const Options options_;
};

}  // namespace fedlb::aggregation

#endif  // FEDLB_PLUGINS_AGGREGATION_MEAN_H_
