// Sync policies whose rounds are all alike: BSP and FedAvg.

#ifndef FEDLB_PLUGINS_SYNC_SYNC_POLICIES_H_
#define FEDLB_PLUGINS_SYNC_SYNC_POLICIES_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "fedlb/param_schema.h"
#include "fedlb/sync_policy.h"

namespace fedlb::sync {

struct BspOptions {};

// Bulk-synchronous parallel training, the paper's Eq 1b: the global batch is
// the sum of the clients' batches.
class Bsp final : public SyncPolicy {
 public:
  using Options = BspOptions;
  static constexpr char kName[] = "bsp";
  static constexpr char kSummary[] =
      "Every client sends the gradient of one batch; the server takes the "
      "optimizer's step.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Bsp>> Create(
      const Options& options, const ComponentContext& context);

  RoundWork Plan(int64_t round) const override;
};

struct FedAvgOptions {
  double local_epochs = 0;
  int64_t local_steps = 0;
};

// H. B. McMahan et al., "Communication-Efficient Learning of Deep Networks from
// Decentralized Data", AISTATS 2017; with local_steps the paper's Eq 1a.
class FedAvg final : public SyncPolicy {
 public:
  using Options = FedAvgOptions;
  static constexpr char kName[] = "fedavg";
  static constexpr char kSummary[] =
      "Every client trains for some epochs or steps and sends how its weights "
      "changed.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<FedAvg>> Create(
      const Options& options, const ComponentContext& context);

  RoundWork Plan(int64_t round) const override;

 private:
  explicit FedAvg(const Options& options) : options_(options) {}

  const Options options_;
};

}  // namespace fedlb::sync

#endif  // FEDLB_PLUGINS_SYNC_SYNC_POLICIES_H_
