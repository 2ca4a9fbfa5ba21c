// Bulyan: Krum, then a trimmed mean.

#ifndef FEDLB_PLUGINS_AGGREGATION_BULYAN_H_
#define FEDLB_PLUGINS_AGGREGATION_BULYAN_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "fedlb/param_schema.h"
#include "fedlb/row_rule.h"

namespace fedlb::aggregation {

struct BulyanOptions {
  int64_t byzantine = 1;
};

// E. M. El Mhamdi et al., "The Hidden Vulnerability of Distributed Learning in
// Byzantium", ICML 2018, section 4, over Krum: n - 2 f updates are chosen one
// by one, each by Krum among those that are left, and in each coordinate the n
// - 4 f values of them nearest to their median are averaged. Needs n >= 4 f + 3
// updates.
//
// Towards the end fewer than f + 3 updates are left, for which Krum is not
// defined; the nearest one other then makes the score.
class Bulyan final : public RowRule {
 public:
  using Options = BulyanOptions;
  static constexpr char kName[] = "bulyan";
  static constexpr char kSummary[] =
      "Krum's choice, then in each coordinate the mean near the median.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Bulyan>> Create(
      const Options& options, const ComponentContext& context);

  int64_t min_updates() const override { return 4 * options_.byzantine + 3; }
  std::vector<RowPair> NeededDistances(
      const std::vector<UpdateFacts>& updates) const override {
    return AllPairs(updates.size());
  }

 private:
  explicit Bulyan(const Options& options) : options_(options) {}

  absl::StatusOr<RowCombination> DoChoose(
      const std::vector<UpdateFacts>& updates,
      const PairDistances& squared_distances) const override;

  const Options options_;
};

}  // namespace fedlb::aggregation

#endif  // FEDLB_PLUGINS_AGGREGATION_BULYAN_H_
