// Trust bootstrapped from one client's update.

#ifndef FEDLB_PLUGINS_AGGREGATION_FLTRUST_H_
#define FEDLB_PLUGINS_AGGREGATION_FLTRUST_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "fedlb/param_schema.h"
#include "fedlb/row_rule.h"

namespace fedlb::aggregation {

struct FlTrustOptions {
  int64_t trusted_client = 0;
};

// X. Cao et al., "FLTrust: Byzantine-robust Federated Learning via Trust
// Bootstrapping", NDSS 2021. The server's own update g_0, from a small clean
// set of examples, is that of the trusted client here; it must be in every
// round. Every other update g_k is scaled to the length of g_0 and weighs
// max(0, cos(g_k, g_0)); one ten million times longer or shorter weighs 0.
// Where nobody points the way of g_0 the aggregate is 0.
class FlTrust final : public RowRule {
 public:
  using Options = FlTrustOptions;
  static constexpr char kName[] = "fltrust";
  static constexpr char kSummary[] =
      "Mean of updates by how far they point the way of a trusted client's.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<FlTrust>> Create(
      const Options& options, const ComponentContext& context);

  int64_t min_updates() const override { return 2; }
  bool needs_norms() const override { return true; }
  std::vector<RowPair> NeededDistances(
      const std::vector<UpdateFacts>& updates) const override;

 private:
  explicit FlTrust(const Options& options) : options_(options) {}

  absl::StatusOr<RowCombination> DoChoose(
      const std::vector<UpdateFacts>& updates,
      const PairDistances& squared_distances) const override;

  // The position of the trusted update, or updates.size().
  size_t FindTrusted(const std::vector<UpdateFacts>& updates) const;

  const Options options_;
};

}  // namespace fedlb::aggregation

#endif  // FEDLB_PLUGINS_AGGREGATION_FLTRUST_H_
