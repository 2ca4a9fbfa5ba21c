// SelSync: clients average their weights when their gradients change.

#ifndef FEDLB_PLUGINS_SYNC_SELSYNC_H_
#define FEDLB_PLUGINS_SYNC_SELSYNC_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/param_schema.h"
#include "fedlb/sync_policy.h"

namespace fedlb::sync {

struct SelSyncOptions {
  double threshold = 0.3;
  double quorum = 0;
  int64_t local_steps = 1;
};

// S. Tyagi and M. Swany, "Accelerating Distributed ML Training via Selective
// Synchronization", IEEE CLUSTER 2023, Algorithm 1: every worker takes a local
// step, and where the gradient change of one of them reaches the threshold all
// average their weights. A client without a change yet, because the detector's
// window is not full, votes for the average, as in the authors' code.
//
// Weights are averaged after the local step (the algorithm as printed; the
// authors' code averages before it). The last round always averages, so that
// its cohort's work is not lost.
class SelSync final : public SyncPolicy {
 public:
  using Options = SelSyncOptions;
  static constexpr char kName[] = "selsync";
  static constexpr char kSummary[] =
      "Clients go on from weights of their own until the gradient of one of "
      "them changes.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<SelSync>> Create(
      const Options& options, const ComponentContext& context);

  RoundWork Plan(int64_t round) const override;
  bool KeepsClientWeights() const override { return true; }
  bool Votes(double gradient_change) const override;
  absl::StatusOr<bool> CloseRound(int64_t round, double votes) override;

  ComponentState SaveState() const override;
  absl::Status LoadState(const ComponentState& state) override;

 private:
  SelSync(const Options& options, int64_t num_rounds)
      : options_(options), num_rounds_(num_rounds) {}

  const Options options_;
  const int64_t num_rounds_;
  // The round in which the server's weights were last news to the clients.
  int64_t base_round_ = 0;
};

}  // namespace fedlb::sync

#endif  // FEDLB_PLUGINS_SYNC_SELSYNC_H_
