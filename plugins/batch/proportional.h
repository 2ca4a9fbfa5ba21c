// The batch policy `proportional`: batches follow each client's speed.

#ifndef FEDLB_BATCH_PROPORTIONAL_H_
#define FEDLB_BATCH_PROPORTIONAL_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/batch_policy.h"
#include "fedlb/param_schema.h"

namespace fedlb::batch {

struct ProportionalOptions {
  int64_t batch_size = 64;
  int64_t min_batch_size = 1;
  int64_t max_batch_size = 1024;
  double smoothing = 0.5;
  double dead_band = 0.05;
};

// Variable batching (Tyagi and Sharma, ACSOS 2020): after every round
//   b_k <- b_k * mean(t) / t_k
// over the clients that took part, with t_k the smoothed time of a round since
// b_k last changed, so that they come to finish together; then all are scaled
// so that the mean stays `batch_size`, and put within the bounds. Nothing
// changes while every t_k is within the dead band around the mean. Times are
// those of BatchPolicy::ObserveClient: on a simulated clock runs repeat bit by
// bit, with measured times they do not.
class Proportional final : public BatchPolicy {
 public:
  using Options = ProportionalOptions;
  static constexpr char kName[] = "proportional";
  static constexpr char kSummary[] =
      "Batches in proportion to the speed of each client.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Proportional>> Create(
      const Options& options, const ComponentContext& context);

  void ObserveClient(const ClientTiming& timing) override;
  absl::Status ObserveRound(int64_t round, const ScalarMap& metrics) override;
  ComponentState SaveState() const override;
  absl::Status LoadState(const ComponentState& state) override;

 private:
  Proportional(const Options& options, int64_t num_clients);

  absl::StatusOr<int64_t> DoBatchSize(int64_t round, int64_t client) override;

  const Options options_;
  // By client: the batch size before rounding, and the smoothed seconds, 0
  // before the first.
  std::vector<double> batch_sizes_;
  std::vector<double> seconds_;
  std::vector<int64_t> took_part_;  // in the round being observed
};

}  // namespace fedlb::batch

#endif  // FEDLB_BATCH_PROPORTIONAL_H_
