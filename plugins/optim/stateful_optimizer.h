// An optimizer that remembers tensors in the shapes of the weights.

#ifndef FEDLB_PLUGINS_OPTIM_STATEFUL_OPTIMIZER_H_
#define FEDLB_PLUGINS_OPTIM_STATEFUL_OPTIMIZER_H_

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "fedlb/component.h"
#include "fedlb/optimizer.h"
#include "fedlb/tensor_list.h"

namespace fedlb::optim {

// One tensor for every weight.
struct StateGroup {
  const char* name;
  double start = 0;  // value of every element before the first step
};

// The groups of a rule with this momentum: none where it is 0.
std::vector<StateGroup> VelocityGroups(double momentum);

// Keeps the state of an optimizer and makes checkpoints of it; which rule moves
// it is up to the class derived.
class StatefulOptimizer : public Optimizer {
 public:
  void Reset() override;
  int64_t StateBytes(const TensorLayout& layout) const override;
  ComponentState SaveState() const override;
  absl::Status LoadState(const ComponentState& state) override;

 protected:
  enum class Steps { kCounted, kNotCounted };

  StatefulOptimizer(std::vector<StateGroup> groups, Steps steps)
      : groups_(std::move(groups)),
        counts_steps_(steps == Steps::kCounted),
        tensors_(groups_.size()) {}

  // Makes the state fit `weights`: new where there is none, the order of memory
  // of the weights. To be called at the start of every step.
  //
  // kInvalidArgument: shapes or types off the weights'; nothing has changed.
  absl::Status FitState(const TensorList& weights);

  // The group that was given as the `index`th.
  TensorList& group(size_t index) { return tensors_[index]; }

  // The number of the step that begins, from 1.
  int64_t CountStep() { return ++steps_; }

 private:
  absl::Status CheckState(const ComponentState& state) const;

  const std::vector<StateGroup> groups_;
  const bool counts_steps_;
  std::vector<TensorList> tensors_;  // each empty before the first step
  int64_t steps_ = 0;
};

}  // namespace fedlb::optim

#endif  // FEDLB_PLUGINS_OPTIM_STATEFUL_OPTIMIZER_H_
