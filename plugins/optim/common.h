// What the optimizers' steps have in common.

#ifndef FEDLB_PLUGINS_OPTIM_COMMON_H_
#define FEDLB_PLUGINS_OPTIM_COMMON_H_

#include <initializer_list>

#include <ATen/core/Tensor.h>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "fedlb/component.h"
#include "fedlb/tensor_list.h"

namespace fedlb::optim {

// Whether a step on `weight` may be one loop over its memory: on the CPU, in
// float or double and without gaps. One loop reads and writes each value once,
// where a chain of operators does so once per operator.
bool HasPlainMemory(const at::Tensor& weight);

// `tensor` in the type of `weight` and with its elements at the same places in
// memory as those of `weight`, which has plain memory and the same shape; a
// copy where it is not so already. The path of a step, and with it the
// rounding, so never depends on how a gradient happened to be laid out.
at::Tensor InOrderOf(const at::Tensor& weight, const at::Tensor& tensor);

// Makes `state` fit `weights`: zeros where there is none, the order of memory
// of the weights.
//
// kInvalidArgument: shapes or types off the weights'.
absl::Status FitState(absl::string_view name, const TensorList& weights,
                      TensorList& state);

// kInvalidArgument naming what is missing from or unknown in `state`, which
// must be empty or consist of these groups of equal length and these scalars.
absl::Status CheckState(const ComponentState& state,
                        std::initializer_list<absl::string_view> groups,
                        std::initializer_list<absl::string_view> scalars);

// The factor that brings the norm of all tensors together down to `max_norm`,
// as torch.nn.utils.clip_grad_norm_ has it: min(1, max_norm / (norm + 1e-6)).
// 1 when `max_norm` is 0.
double ClipFactor(const TensorList& gradient, double max_norm);

inline constexpr char kClipNormDescription[] =
    "Largest L2 norm of the gradient of all parameters together; a larger "
    "gradient is scaled down to it before weight decay is added. 0 turns "
    "clipping off.";

}  // namespace fedlb::optim

#endif  // FEDLB_PLUGINS_OPTIM_COMMON_H_
