#include "optim/sgd.h"

#include <cstddef>
#include <cstdint>

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include "fedlb/status.h"
#include "optim/common.h"

namespace fedlb::optim {
namespace {

struct SgdStep {
  double lr;
  double momentum;
  bool nesterov;
  double weight_decay;
  double clip;
};

// Without momentum `velocity` is not read.
template <typename T>
void StepPlain(const SgdStep& step, int64_t size,
               const T* __restrict__ gradient, T* __restrict__ velocity,
               T* __restrict__ weight) {
  const T lr = static_cast<T>(step.lr);
  const T momentum = static_cast<T>(step.momentum);
  const T decay = static_cast<T>(step.weight_decay);
  const T clip = static_cast<T>(step.clip);
  if (step.momentum == 0) {
    for (int64_t i = 0; i < size; ++i) {
      weight[i] -= lr * (clip * gradient[i] + decay * weight[i]);
    }
  } else if (!step.nesterov) {
    for (int64_t i = 0; i < size; ++i) {
      const T g = clip * gradient[i] + decay * weight[i];
      velocity[i] = momentum * velocity[i] + g;
      weight[i] -= lr * velocity[i];
    }
  } else {
    for (int64_t i = 0; i < size; ++i) {
      const T g = clip * gradient[i] + decay * weight[i];
      velocity[i] = momentum * velocity[i] + g;
      weight[i] -= lr * (g + momentum * velocity[i]);
    }
  }
}

template <typename T>
void StepPlain(const SgdStep& step, const at::Tensor& gradient,
               at::Tensor* velocity, at::Tensor& weight) {
  const at::Tensor g = InOrderOf(weight, gradient);
  StepPlain<T>(step, weight.numel(), g.const_data_ptr<T>(),
               velocity ? velocity->mutable_data_ptr<T>() : nullptr,
               weight.mutable_data_ptr<T>());
}

void StepWithOperators(const SgdStep& step, const at::Tensor& gradient,
                       at::Tensor* velocity, at::Tensor& weight) {
  at::Tensor g = gradient.mul(step.clip);
  g.add_(weight, step.weight_decay);
  if (velocity != nullptr) {
    velocity->mul_(step.momentum).add_(g);
    g = step.nesterov ? g.add_(*velocity, step.momentum) : *velocity;
  }
  weight.sub_(g, step.lr);
}

}  // namespace

ParamSchema<SgdOptions> Sgd::Schema() {
  return ParamSchema<Options>()
      .Add("lr", &Options::lr, kLrDescription, AtLeast(0))
      .Add("momentum", &Options::momentum, kMomentumDescription,
           InHalfOpen(0, 1))
      .Add("nesterov", &Options::nesterov,
           "Nesterov's form of momentum: the gradient counts once more on top "
           "of the kept direction.")
      .Add("weight_decay", &Options::weight_decay, kWeightDecayDescription,
           AtLeast(0))
      .Add("clip_norm", &Options::clip_norm, kClipNormDescription, AtLeast(0))
      .Check([](const Options& options) {
        if (options.nesterov && options.momentum == 0) {
          return ConfigError("nesterov = true needs momentum > 0");
        }
        return absl::OkStatus();
      });
}

Sgd::Sgd(const Options& options)
    : StatefulOptimizer(VelocityGroups(options.momentum), Steps::kNotCounted),
      options_(options) {}

absl::StatusOr<std::unique_ptr<Sgd>> Sgd::Create(
    const Options& options, const ComponentContext& /*context*/) {
  return std::unique_ptr<Sgd>(new Sgd(options));
}

OptimizerTraits Sgd::traits() const {
  return {.scale_invariant = false, .clips = options_.clip_norm > 0};
}

absl::Status Sgd::DoStep(const TensorList& gradient, double lr,
                         TensorList& weights) {
  const at::NoGradGuard no_grad;
  FEDLB_RETURN_IF_ERROR(FitState(weights));
  const SgdStep step = {.lr = lr,
                        .momentum = options_.momentum,
                        .nesterov = options_.nesterov,
                        .weight_decay = options_.weight_decay,
                        .clip = ClipFactor(gradient, options_.clip_norm)};
  for (size_t i = 0; i < weights.size(); ++i) {
    at::Tensor* velocity = options_.momentum == 0 ? nullptr : &group(0)[i];
    LoopOrOperators(
        weights[i],
        [&](auto zero) {
          StepPlain<decltype(zero)>(step, gradient[i], velocity, weights[i]);
        },
        [&] { StepWithOperators(step, gradient[i], velocity, weights[i]); });
  }
  return absl::OkStatus();
}

}  // namespace fedlb::optim
