// The batch policy `per_client`: a list of batch sizes, one for each client.

#ifndef FEDLB_BATCH_PER_CLIENT_H_
#define FEDLB_BATCH_PER_CLIENT_H_

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "fedlb/batch_policy.h"
#include "fedlb/param_schema.h"

namespace fedlb::batch {

struct PerClientOptions {
  std::vector<int64_t> batch_sizes = {64};
};

// Client i uses entry i, or entry i mod length of a list that is repeated. Only
// whole repetitions are allowed: a list cut off in the middle is more likely a
// mistake in the number of clients than meant.
class PerClient final : public BatchPolicy {
 public:
  using Options = PerClientOptions;
  static constexpr char kName[] = "per_client";
  static constexpr char kSummary[] = "A batch size for each client.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<PerClient>> Create(
      const Options& options, const ComponentContext& context);

 private:
  explicit PerClient(std::vector<int64_t> batch_sizes)
      : batch_sizes_(std::move(batch_sizes)) {}

  absl::StatusOr<int64_t> DoBatchSize(int64_t round, int64_t client) override;

  const std::vector<int64_t> batch_sizes_;
};

}  // namespace fedlb::batch

#endif  // FEDLB_BATCH_PER_CLIENT_H_
