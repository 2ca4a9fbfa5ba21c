// Turns a gradient into a change of weights: the client's, the server's and
// BSP's optimizer alike.

#ifndef FEDLB_OPTIMIZER_H_
#define FEDLB_OPTIMIZER_H_

#include <cstdint>

#include "absl/status/status.h"
#include "fedlb/component.h"
#include "fedlb/export.h"
#include "fedlb/tensor_list.h"

namespace fedlb {

// What a gradient mapper must know of the optimizer behind it.
struct OptimizerTraits {
  // The step does not depend on the gradient's scale (Adam, sign methods).
  bool scale_invariant = false;
  // The gradient's norm is clipped before the step.
  bool clips = false;
};

class FEDLB_API Optimizer : public Component {
 public:
  static constexpr char kKind[] = "optimizer";

  // One step, in place. `lr` is the base rate times the schedule's factor. The
  // first call after Create or Reset fixes the layout.
  //
  // kInvalidArgument: shapes off the weights' or the first call's.
  absl::Status Step(const TensorList& gradient, double lr, TensorList& weights);

  // Forgets momentum and all other state.
  virtual void Reset() = 0;

  // The option `lr`.
  virtual double base_lr() const = 0;
  virtual OptimizerTraits traits() const = 0;
  // Bytes of state for weights of this layout.
  virtual int64_t StateBytes(const TensorLayout& layout) const = 0;

 private:
  virtual absl::Status DoStep(const TensorList& gradient, double lr,
                              TensorList& weights) = 0;
};

}  // namespace fedlb

#endif  // FEDLB_OPTIMIZER_H_
