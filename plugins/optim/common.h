// What the optimizers' steps have in common.

#ifndef FEDLB_PLUGINS_OPTIM_COMMON_H_
#define FEDLB_PLUGINS_OPTIM_COMMON_H_

#include <ATen/core/Tensor.h>

#include "fedlb/tensor_list.h"

namespace fedlb::optim {

// Whether a step on `weight` may be one loop over its memory: on the CPU, in
// float or double and without gaps. One loop reads and writes each value once,
// where a chain of operators does so once per operator.
bool HasPlainMemory(const at::Tensor& weight);

// Calls `loop` with a zero of the type of `weight` where it has plain memory,
// `operators` without arguments otherwise.
template <typename Loop, typename Operators>
void LoopOrOperators(const at::Tensor& weight, const Loop& loop,
                     const Operators& operators) {
  if (!HasPlainMemory(weight)) {
    operators();
  } else if (weight.scalar_type() == at::kFloat) {
    loop(float{});
  } else {
    loop(double{});
  }
}

// `tensor` in the type of `weight` and with its elements at the same places in
// memory as those of `weight`, which has plain memory and the same shape; a
// copy where it is not so already. The path of a step, and with it the
// rounding, so never depends on how a gradient happened to be laid out.
at::Tensor InOrderOf(const at::Tensor& weight, const at::Tensor& tensor);

// The factor that brings the norm of all tensors together down to `max_norm`,
// as torch.nn.utils.clip_grad_norm_ has it: min(1, max_norm / (norm + 1e-6)).
// 1 when `max_norm` is 0.
double ClipFactor(const TensorList& gradient, double max_norm);

// Descriptions of options that several optimizers have.
inline constexpr char kLrDescription[] =
    "Learning rate before the factor of [lr_schedule].";
inline constexpr char kMomentumDescription[] =
    "Share of the last step's direction that the next one keeps.";
inline constexpr char kBeta1Description[] =
    "Decay of the running mean of the gradient.";
inline constexpr char kBeta2Description[] =
    "Decay of the running mean of the squared gradient.";
inline constexpr char kEpsDescription[] =
    "Added to the root of the mean squared gradient.";
inline constexpr char kWeightDecayDescription[] =
    "Factor of the weights that is added to the gradient, after a gradient "
    "mapper and clipping: neither scales it.";
inline constexpr char kClipNormDescription[] =
    "Largest L2 norm of the gradient of all parameters together; a larger "
    "gradient is scaled down to it before weight decay is added. 0 turns "
    "clipping off.";

}  // namespace fedlb::optim

#endif  // FEDLB_PLUGINS_OPTIM_COMMON_H_
