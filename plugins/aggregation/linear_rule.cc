#include "aggregation/linear_rule.h"

#include <cstddef>

#include "fedlb/status.h"

namespace fedlb::aggregation {

std::optional<TensorList> LinearRule::LinearState() {
  TensorList state = sums_.LinearState();
  state.back() = ToTensor({totals_.begin(), totals_.end()});
  return state;
}

absl::StatusOr<RowCombination> LinearRule::DoChoose(
    const std::vector<UpdateFacts>& updates,
    const PairDistances& /*squared_distances*/) const {
  RowCombination sum;
  Totals totals{};
  for (size_t k = 0; k < updates.size(); ++k) {
    FEDLB_ASSIGN_OR_RETURN(const Term term, Weigh(updates[k], totals));
    sum.rows.push_back(k);
    sum.weights.push_back(term.weight);
    if (term.clipped) {
      sum.clipped.push_back(k);
    }
  }
  sum.divisor = Divisor(totals);
  return sum;
}

absl::Status LinearRule::DoBegin(const TensorLayout& layout) {
  sums_.Begin(layout);
  totals_ = {};
  return absl::OkStatus();
}

absl::Status LinearRule::DoAdd(const Update& update) {
  FEDLB_ASSIGN_OR_RETURN(const Term term, Weigh(FactsOf(update), totals_));
  sums_.Add(update.parameters(), term.weight);
  return absl::OkStatus();
}

absl::StatusOr<TensorList> LinearRule::DoFinish() {
  return sums_.Quotient(Divisor(totals_));
}

}  // namespace fedlb::aggregation
