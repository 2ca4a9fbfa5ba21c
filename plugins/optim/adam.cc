#include "optim/adam.h"

#include <cmath>

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include "optim/common.h"

namespace fedlb::optim {
namespace {

struct AdamStep {
  double beta1;
  double beta2;
  double eps;
  double weight_decay;
  double clip;
  double step_size;    // lr / (1 - beta1^t)
  double root_factor;  // 1 / sqrt(1 - beta2^t)
};

template <typename T>
void StepPlain(const AdamStep& step, int64_t size,
               const T* __restrict__ gradient, T* __restrict__ first,
               T* __restrict__ second, T* __restrict__ weight) {
  const T keep1 = static_cast<T>(step.beta1);
  const T keep2 = static_cast<T>(step.beta2);
  const T take1 = static_cast<T>(1 - step.beta1);
  const T take2 = static_cast<T>(1 - step.beta2);
  const T eps = static_cast<T>(step.eps);
  const T decay = static_cast<T>(step.weight_decay);
  const T clip = static_cast<T>(step.clip);
  const T step_size = static_cast<T>(step.step_size);
  const T root_factor = static_cast<T>(step.root_factor);
  for (int64_t i = 0; i < size; ++i) {
    const T g = clip * gradient[i] + decay * weight[i];
    first[i] = keep1 * first[i] + take1 * g;
    second[i] = keep2 * second[i] + take2 * g * g;
    weight[i] -=
        step_size * first[i] / (std::sqrt(second[i]) * root_factor + eps);
  }
}

template <typename T>
void StepPlain(const AdamStep& step, const at::Tensor& gradient,
               at::Tensor& first, at::Tensor& second, at::Tensor& weight) {
  const at::Tensor g = InOrderOf(weight, gradient);
  StepPlain<T>(step, weight.numel(), g.const_data_ptr<T>(),
               first.mutable_data_ptr<T>(), second.mutable_data_ptr<T>(),
               weight.mutable_data_ptr<T>());
}

void StepWithOperators(const AdamStep& step, const at::Tensor& gradient,
                       at::Tensor& first, at::Tensor& second,
                       at::Tensor& weight) {
  at::Tensor g = gradient.mul(step.clip);
  g.add_(weight, step.weight_decay);
  first.mul_(step.beta1).add_(g, 1 - step.beta1);
  second.mul_(step.beta2).addcmul_(g, g, 1 - step.beta2);
  const at::Tensor root = second.sqrt().mul_(step.root_factor).add_(step.eps);
  weight.addcdiv_(first, root, -step.step_size);
}

}  // namespace

ParamSchema<AdamOptions> Adam::Schema() {
  return ParamSchema<Options>()
      .Add("lr", &Options::lr,
           "Learning rate before the factor of [lr_schedule].", AtLeast(0))
      .Add("beta1", &Options::beta1,
           "Decay of the running mean of the gradient.", InHalfOpen(0, 1))
      .Add("beta2", &Options::beta2,
           "Decay of the running mean of the squared gradient.",
           InHalfOpen(0, 1))
      .Add("eps", &Options::eps,
           "Added to the root of the mean squared gradient.", GreaterThan(0))
      .Add("weight_decay", &Options::weight_decay,
           "Factor of the weights that is added to the gradient, after a "
           "gradient mapper and clipping: neither scales it.",
           AtLeast(0))
      .Add("clip_norm", &Options::clip_norm, kClipNormDescription, AtLeast(0));
}

absl::StatusOr<std::unique_ptr<Adam>> Adam::Create(
    const Options& options, const ComponentContext& /*context*/) {
  return std::unique_ptr<Adam>(new Adam(options));
}

void Adam::Reset() {
  steps_ = 0;
  first_moment_.clear();
  second_moment_.clear();
}

OptimizerTraits Adam::traits() const {
  return {.scale_invariant = true, .clips = options_.clip_norm > 0};
}

int64_t Adam::StateBytes(const TensorLayout& layout) const {
  return 2 * NumBytes(layout);
}

ComponentState Adam::SaveState() const {
  ComponentState state;
  if (steps_ > 0) {
    state.tensors["first_moment"] = first_moment_;
    state.tensors["second_moment"] = second_moment_;
    state.scalars["steps"] = static_cast<double>(steps_);
  }
  return state;
}

absl::Status Adam::LoadState(const ComponentState& state) {
  FEDLB_RETURN_IF_ERROR(
      CheckState(state, {"first_moment", "second_moment"}, {"steps"}));
  if (state.empty()) {
    Reset();
    return absl::OkStatus();
  }
  const double steps = state.scalars.at("steps");
  if (!(steps >= 1 && steps <= 1e15)) {
    return absl::InvalidArgumentError(
        "optimizer state: steps is not a positive count");
  }
  steps_ = static_cast<int64_t>(steps);
  first_moment_ = Clone(state.tensors.at("first_moment"));
  second_moment_ = Clone(state.tensors.at("second_moment"));
  return absl::OkStatus();
}

absl::Status Adam::DoStep(const TensorList& gradient, double lr,
                          TensorList& weights) {
  const at::NoGradGuard no_grad;
  FEDLB_RETURN_IF_ERROR(FitState("first_moment", weights, first_moment_));
  FEDLB_RETURN_IF_ERROR(FitState("second_moment", weights, second_moment_));
  ++steps_;
  const auto t = static_cast<double>(steps_);
  const AdamStep step = {
      .beta1 = options_.beta1,
      .beta2 = options_.beta2,
      .eps = options_.eps,
      .weight_decay = options_.weight_decay,
      .clip = ClipFactor(gradient, options_.clip_norm),
      .step_size = lr / (1 - std::pow(options_.beta1, t)),
      .root_factor = 1 / std::sqrt(1 - std::pow(options_.beta2, t))};
  for (size_t i = 0; i < weights.size(); ++i) {
    if (!HasPlainMemory(weights[i])) {
      StepWithOperators(step, gradient[i], first_moment_[i], second_moment_[i],
                        weights[i]);
    } else if (weights[i].scalar_type() == at::kFloat) {
      StepPlain<float>(step, gradient[i], first_moment_[i], second_moment_[i],
                       weights[i]);
    } else {
      StepPlain<double>(step, gradient[i], first_moment_[i], second_moment_[i],
                        weights[i]);
    }
  }
  return absl::OkStatus();
}

}  // namespace fedlb::optim
