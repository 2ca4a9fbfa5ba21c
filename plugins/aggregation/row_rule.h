// The base of rules that combine all updates of a round at once.

#ifndef FEDLB_PLUGINS_AGGREGATION_ROW_RULE_H_
#define FEDLB_PLUGINS_AGGREGATION_ROW_RULE_H_

#include <ATen/core/Tensor.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "aggregation/update_rows.h"
#include "fedlb/aggregator.h"
#include "fedlb/round_task.h"
#include "fedlb/tensor_list.h"

namespace fedlb::aggregation {

// Keeps a copy of every update of the round. Whoever wrote an update also wrote
// its number of examples, so that robust rules count each client once.
class RowRule : public Aggregator {
 private:
  // The aggregate of one or more rows; may be one of them.
  virtual absl::StatusOr<at::Tensor> Combine(const UpdateRows& updates) = 0;

  absl::Status DoBegin(const TensorLayout& layout) final {
    updates_.Begin(layout);
    return absl::OkStatus();
  }
  absl::Status DoAdd(const Update& update) final {
    updates_.Add(update);
    return absl::OkStatus();
  }
  absl::StatusOr<TensorList> DoFinish() final {
    auto combined = Combine(updates_);
    if (!combined.ok()) {
      return combined.status();
    }
    TensorList result = updates_.ToTensors(*combined);
    updates_.Clear();
    return result;
  }

  UpdateRows updates_;
};

}  // namespace fedlb::aggregation

#endif  // FEDLB_PLUGINS_AGGREGATION_ROW_RULE_H_
