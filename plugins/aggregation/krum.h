// Krum and Multi-Krum.

#ifndef FEDLB_PLUGINS_AGGREGATION_KRUM_H_
#define FEDLB_PLUGINS_AGGREGATION_KRUM_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "fedlb/param_schema.h"
#include "fedlb/row_rule.h"

namespace fedlb::aggregation {

struct KrumOptions {
  int64_t byzantine = 1;
  int64_t select = 1;
};

// P. Blanchard et al., "Machine Learning with Adversaries: Byzantine Tolerant
// Gradient Descent", NeurIPS 2017. An update's score is the sum of its squared
// distances to the n - f - 2 others that are nearest to it; the update with the
// least score is taken (Krum), or the mean of those with the `select` least
// ones (Multi-Krum). Needs n >= 2 f + 3 updates.
class Krum final : public RowRule {
 public:
  using Options = KrumOptions;
  static constexpr char kName[] = "krum";
  static constexpr char kSummary[] =
      "The updates that lie nearest to most of the others.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Krum>> Create(
      const Options& options, const ComponentContext& context);

  int64_t min_updates() const override { return 2 * options_.byzantine + 3; }
  std::vector<RowPair> NeededDistances(
      const std::vector<UpdateFacts>& updates) const override {
    return AllPairs(updates.size());
  }

 private:
  explicit Krum(const Options& options) : options_(options) {}

  absl::StatusOr<RowCombination> DoChoose(
      const std::vector<UpdateFacts>& updates,
      const PairDistances& squared_distances) const override;

  const Options options_;
};

}  // namespace fedlb::aggregation

#endif  // FEDLB_PLUGINS_AGGREGATION_KRUM_H_
