// The base of rules that need not see two updates at once.

#ifndef FEDLB_PLUGINS_AGGREGATION_LINEAR_RULE_H_
#define FEDLB_PLUGINS_AGGREGATION_LINEAR_RULE_H_

#include <array>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/round_task.h"
#include "fedlb/row_rule.h"
#include "fedlb/tensor_list.h"
#include "fedlb/weighted_mean.h"

namespace fedlb::aggregation {

// The aggregate is a sum of weighted updates over a divisor. An update's weight
// follows from what describes this update alone, so that updates can be added
// as they come and memory does not grow with their number.
class LinearRule : public RowRule {
 public:
  // The sums of the weighted updates and, last, the totals.
  std::optional<TensorList> LinearState() final;

 protected:
  // Sums over the updates of a round, of which the divisor is made.
  using Totals = std::array<double, 2>;
  struct Term {
    double weight = 0;
    bool clipped = false;  // it would be more if the update were shorter
  };

 private:
  // Adds what the update contributes to `totals`, too.
  virtual absl::StatusOr<Term> Weigh(const UpdateFacts& update,
                                     Totals& totals) const = 0;
  virtual double Divisor(const Totals& totals) const = 0;

  absl::StatusOr<RowCombination> DoChoose(
      const std::vector<UpdateFacts>& updates,
      const PairDistances& squared_distances) const final;
  absl::Status DoBegin(const TensorLayout& layout) final;
  absl::Status DoAdd(const Update& update) final;
  absl::StatusOr<TensorList> DoFinish() final;

  WeightedMean sums_;
  Totals totals_{};
};

}  // namespace fedlb::aggregation

#endif  // FEDLB_PLUGINS_AGGREGATION_LINEAR_RULE_H_
