#include "fedlb/linear.h"

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/List.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/linear.h>
#include <torch/csrc/autograd/custom_function.h>

namespace fedlb {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Below so many multiplications setting up oneDNN's product costs more than it
// saves.
constexpr int64_t kFewestMultiplications = 1 << 21;

using PointwiseOp = at::Tensor(const at::Tensor&, const at::Tensor&,
                               const std::optional<at::Tensor>&,
                               std::string_view,
                               c10::List<std::optional<at::Scalar>>,
                               std::optional<std::string_view>);

// Null where LibTorch was built without oneDNN.
const c10::TypedOperatorHandle<PointwiseOp>* FindOp() {
  static const auto op =
      []() -> std::optional<c10::TypedOperatorHandle<PointwiseOp>> {
    const auto schema = c10::Dispatcher::singleton().findSchema(
        {"mkldnn::_linear_pointwise", ""});
    if (!at::hasMKLDNN() || !schema.has_value()) {
      return std::nullopt;
    }
    return schema->typed<PointwiseOp>();
  }();
  return op.has_value() ? &*op : nullptr;
}

// a b^T + bias for a [m, k] and b [n, k] of any strides; a is copied unless it
// is contiguous.
at::Tensor Product(const at::Tensor& a, const at::Tensor& b,
                   const std::optional<at::Tensor>& bias = std::nullopt) {
  return FindOp()->call(a, b, bias, "none",
                        c10::List<std::optional<at::Scalar>>(), "");
}

class OneDnnLinear final : public torch::autograd::Function<OneDnnLinear> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x,
                            const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias) {
    context->save_for_backward({x, weight});
    context->saved_data["has_bias"] = bias.has_value();
    return Product(x, weight, bias);
  }

  static variable_list backward(AutogradContext* context,
                                const variable_list& outward) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor& x = saved[0];
    const at::Tensor& weight = saved[1];
    const at::Tensor gradient = outward[0].contiguous();
    variable_list inward(3);
    if (context->needs_input_grad(0)) {
      inward[0] = Product(gradient, weight.t());
    }
    if (context->needs_input_grad(1)) {
      // Of the two factors the smaller one is transposed in memory.
      inward[1] = x.size(1) < gradient.size(1)
                      ? Product(x.t(), gradient.t()).t().contiguous()
                      : Product(gradient.t(), x.t());
    }
    if (context->saved_data["has_bias"].toBool() &&
        context->needs_input_grad(2)) {
      inward[2] = gradient.sum(0);
    }
    return inward;
  }
};

bool SuitsOneDnn(const at::Tensor& x, const at::Tensor& weight) {
  return x.dim() > 1 && x.is_cpu() && x.scalar_type() == at::kFloat &&
         weight.scalar_type() == at::kFloat && weight.is_contiguous() &&
         x.numel() * weight.size(0) >= kFewestMultiplications &&
         !at::autocast::is_autocast_enabled(at::kCPU) && FindOp() != nullptr;
}

}  // namespace

at::Tensor ApplyLinear(const at::Tensor& x, const at::Tensor& weight,
                       const at::Tensor& bias) {
  if (!SuitsOneDnn(x, weight)) {
    return at::linear(x, weight, bias);
  }
  const std::optional<at::Tensor> optional_bias =
      bias.defined() ? std::optional<at::Tensor>(bias) : std::nullopt;
  if (x.dim() == 2) {
    return OneDnnLinear::apply(x, weight, optional_bias);
  }
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() = weight.size(0);
  return OneDnnLinear::apply(x.reshape({-1, x.size(-1)}), weight, optional_bias)
      .view(sizes);
}

}  // namespace fedlb
