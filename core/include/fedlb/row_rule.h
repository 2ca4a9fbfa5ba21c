// Rules that treat every column alike: what they have to decide, and how their
// decision becomes an aggregate.
//
// Lay the updates of a round below each other, one row per client and one
// column per parameter. A rule first looks at what describes whole rows (number
// of examples, norms, distances), then says how each column is combined. The
// decision is all that a rule implements, so that the same rule works on
// updates in memory and on files that are read block by block.

#ifndef FEDLB_ROW_RULE_H_
#define FEDLB_ROW_RULE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/aggregator.h"
#include "fedlb/export.h"
#include "fedlb/round_task.h"
#include "fedlb/tensor_list.h"

namespace fedlb {

// What describes one update as a whole.
struct UpdateFacts {
  Update::Kind kind = Update::Kind::kDelta;
  int64_t client = 0;
  int64_t num_examples = 0;
  int64_t local_steps = 0;
  // Of the parameters; 0 for rules without needs_norms().
  double squared_norm = 0;
};

// Indices of two updates, the smaller first.
using RowPair = std::pair<size_t, size_t>;

// Squared distances |u_i - u_j|^2 at [i][j] and [j][i]; 0 where nobody asked.
using PairDistances = std::vector<std::vector<double>>;

// How the values of a column become one.
struct RowCombination {
  enum class Kind {
    kWeightedSum,     // sum of weights[i] * value of rows[i], over `divisor`
    kTrimmedMean,     // mean without the `count` least and the `count` largest
    kMeanNearMedian,  // mean of the `count` values nearest to the median; of
                      // two equally near the smaller
  };
  Kind kind = Kind::kWeightedSum;
  // The updates that count, in rising order. Of a weighted sum there may be
  // none, and the aggregate is 0.
  std::vector<size_t> rows;
  std::vector<double> weights;
  double divisor = 1;
  int64_t count = 0;
  // Those of `rows` that count for less because they are too long.
  std::vector<size_t> clipped;
};

class FEDLB_API RowRule : public Aggregator {
 public:
  RowRule();
  ~RowRule() override;

  // Whether the rule looks at norms.
  virtual bool needs_norms() const { return false; }

  // The distances that the rule looks at.
  virtual std::vector<RowPair> NeededDistances(
      const std::vector<UpdateFacts>& updates) const;

  // The rule's decision over one round.
  //
  // kFailedPrecondition: fewer than min_updates(). kInternal: the rule decided
  // something that is not a combination of these updates.
  absl::StatusOr<RowCombination> Choose(
      const std::vector<UpdateFacts>& updates,
      const PairDistances& squared_distances) const;

 protected:
  // What the rule may know of `update`, with the norm if it needs_norms().
  UpdateFacts FactsOf(const Update& update) const;

 private:
  // Called with at least min_updates() updates.
  virtual absl::StatusOr<RowCombination> DoChoose(
      const std::vector<UpdateFacts>& updates,
      const PairDistances& squared_distances) const = 0;

  // Keep a copy of every update of the round. Rules that can do without
  // override them.
  absl::Status DoBegin(const TensorLayout& layout) override;
  absl::Status DoAdd(const Update& update) override;
  absl::StatusOr<TensorList> DoFinish() override;

  class Rows;
  const std::unique_ptr<Rows> rows_;
};

// All of `count` updates, and all pairs of them.
FEDLB_API std::vector<size_t> AllRows(size_t count);
FEDLB_API std::vector<RowPair> AllPairs(size_t count);

}  // namespace fedlb

#endif  // FEDLB_ROW_RULE_H_
