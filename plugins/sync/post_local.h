// Post-local SGD: gradients first, local steps later.

#ifndef FEDLB_PLUGINS_SYNC_POST_LOCAL_H_
#define FEDLB_PLUGINS_SYNC_POST_LOCAL_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "fedlb/param_schema.h"
#include "fedlb/sync_policy.h"

namespace fedlb::sync {

struct PostLocalOptions {
  int64_t switch_at = 0;
  int64_t local_steps = 16;
};

// T. Lin et al., "Don't Use Large Mini-Batches, Use Local SGD", ICLR 2020
// (arXiv 1808.07217), section 3: one step between two averages until t', H
// afterwards. The first phase is BSP, whose single step on the server equals
// the average of the clients' single steps for SGD.
//
// The authors' workers have a momentum of their own from the start. Here it is
// the server's until the switch, and the clients' begins empty there.
class PostLocal final : public SyncPolicy {
 public:
  using Options = PostLocalOptions;
  static constexpr char kName[] = "post_local";
  static constexpr char kSummary[] =
      "One gradient per client and round at first, local steps from a round "
      "on.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<PostLocal>> Create(
      const Options& options, const ComponentContext& context);

  RoundWork Plan(int64_t round) const override;

 private:
  PostLocal(int64_t switch_at, int64_t local_steps)
      : switch_at_(switch_at), local_steps_(local_steps) {}

  const int64_t switch_at_;
  const int64_t local_steps_;
};

}  // namespace fedlb::sync

#endif  // FEDLB_PLUGINS_SYNC_POST_LOCAL_H_
