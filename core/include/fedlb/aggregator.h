// The server-side rule that turns one round's client updates into one.

#ifndef FEDLB_AGGREGATOR_H_
#define FEDLB_AGGREGATOR_H_

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/component.h"
#include "fedlb/export.h"
#include "fedlb/round_task.h"
#include "fedlb/tensor_list.h"

namespace fedlb {

// One instance serves one run and is used from one thread at a time. A round
// is Begin, Add once per client, Finish.
class FEDLB_API Aggregator : public Component {
 public:
  static constexpr char kKind[] = "aggregator";

  // Starts a round over parameters of this layout and forgets the one before.
  absl::Status Begin(const TensorLayout& layout);

  // Takes one client's update. Clients are added in the order of the cohort,
  // so that sums round alike in every run.
  //
  // kInvalidArgument: no examples, or shapes or dtypes off the layout.
  // kFailedPrecondition: no Begin.
  absl::Status Add(const Update& update);

  // Ends the round; the result aliases no update.
  //
  // kFailedPrecondition: no or too few updates for the rule.
  absl::StatusOr<TensorList> Finish();

  int64_t num_added() const { return num_added_; }

  // Fewest updates in a round that the rule works with, at least 1.
  virtual int64_t min_updates() const { return 1; }

  // Numbers about the rounds so far, for the log.
  virtual ScalarMap Report() const { return {}; }

  // Tensors whose sum over processes stands for all their clients, or nullopt
  // when the rule must see every update in one place.
  virtual std::optional<TensorList> LinearState() { return std::nullopt; }

 private:
  // Called with what passed the checks documented above.
  virtual absl::Status DoBegin(const TensorLayout& layout) = 0;
  virtual absl::Status DoAdd(const Update& update) = 0;
  virtual absl::StatusOr<TensorList> DoFinish() = 0;

  TensorLayout layout_;
  bool in_round_ = false;
  int64_t num_added_ = 0;
};

}  // namespace fedlb

#endif  // FEDLB_AGGREGATOR_H_
