// FedNova: a mean that is fair to clients that take different numbers of steps.

#ifndef FEDLB_PLUGINS_AGGREGATION_FEDNOVA_H_
#define FEDLB_PLUGINS_AGGREGATION_FEDNOVA_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "aggregation/linear_rule.h"
#include "fedlb/param_schema.h"
#include "fedlb/row_rule.h"

namespace fedlb::aggregation {

enum class EffectiveSteps { kNorm, kSteps };

struct FedNovaOptions {
  double momentum = 0;
  double mu = 0;
  double lr = 0.1;
  EffectiveSteps effective_steps = EffectiveSteps::kNorm;
};

// J. Wang et al., "Tackling the Objective Inconsistency Problem in
// Heterogeneous Federated Optimization", NeurIPS 2020, Eq 8: with deltas d_k,
// shares p_k of the examples and ||a_k||_1 the weight of a client's gradients
// in its delta,
//   aggregate = tau_eff sum_k p_k d_k / ||a_k||_1.
// The mean is the special case of equal ||a_k||_1. Gradients count as one step.
//
// ||a||_1 is how far gradients that are all 1 move a weight, in units of the
// rate: tau for plain SGD, the paper's closed form with momentum rho, and
// a <- (1 - lr mu) a + 1 with a proximal term. Here one linear recursion covers
// all three, and momentum together with a proximal term, for which the authors'
// code adds the two forms up.
class FedNova final : public LinearRule {
 public:
  using Options = FedNovaOptions;
  static constexpr char kName[] = "fednova";
  static constexpr char kSummary[] =
      "Mean of the updates per local step, times an average number of steps.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<FedNova>> Create(
      const Options& options, const ComponentContext& context);

 private:
  explicit FedNova(const Options& options) : options_(options) {}

  // The totals are the sums of n_k and of n_k times the steps that count.
  absl::StatusOr<Term> Weigh(const UpdateFacts& update,
                             Totals& totals) const override;
  double Divisor(const Totals& totals) const override;

  // ||a||_1 after `steps` local steps.
  double NormOf(int64_t steps) const;

  const Options options_;
};

}  // namespace fedlb::aggregation

#endif  // FEDLB_PLUGINS_AGGREGATION_FEDNOVA_H_
