#include "optim/sgd.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

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
      .Add("lr", &Options::lr,
           "Learning rate before the factor of [lr_schedule].", AtLeast(0))
      .Add("momentum", &Options::momentum,
           "Share of the last step's direction that the next one keeps.",
           InHalfOpen(0, 1))
      .Add("nesterov", &Options::nesterov,
           "Nesterov's form of momentum: the gradient counts once more on top "
           "of the kept direction.")
      .Add("weight_decay", &Options::weight_decay,
           "Factor of the weights that is added to the gradient, after a "
           "gradient mapper and clipping: neither scales it.",
           AtLeast(0))
      .Add("clip_norm", &Options::clip_norm, kClipNormDescription, AtLeast(0))
      .Check([](const Options& options) {
        if (options.nesterov && options.momentum == 0) {
          return ConfigError("nesterov = true needs momentum > 0");
        }
        return absl::OkStatus();
      });
}

absl::StatusOr<std::unique_ptr<Sgd>> Sgd::Create(
    const Options& options, const ComponentContext& /*context*/) {
  return std::unique_ptr<Sgd>(new Sgd(options));
}

OptimizerTraits Sgd::traits() const {
  return {.scale_invariant = false, .clips = options_.clip_norm > 0};
}

int64_t Sgd::StateBytes(const TensorLayout& layout) const {
  return options_.momentum == 0 ? 0 : NumBytes(layout);
}

ComponentState Sgd::SaveState() const {
  ComponentState state;
  if (!velocity_.empty()) {
    state.tensors["velocity"] = velocity_;
  }
  return state;
}

absl::Status Sgd::LoadState(const ComponentState& state) {
  if (options_.momentum == 0) {
    FEDLB_RETURN_IF_ERROR(CheckState(state, {}, {}));
  } else {
    FEDLB_RETURN_IF_ERROR(CheckState(state, {"velocity"}, {}));
  }
  velocity_.clear();
  const auto found = state.tensors.find("velocity");
  if (found != state.tensors.end()) {
    velocity_ = Clone(found->second);
  }
  return absl::OkStatus();
}

absl::Status Sgd::DoStep(const TensorList& gradient, double lr,
                         TensorList& weights) {
  const at::NoGradGuard no_grad;
  const bool has_velocity = options_.momentum != 0;
  if (has_velocity) {
    FEDLB_RETURN_IF_ERROR(FitState("velocity", weights, velocity_));
  }
  const SgdStep step = {.lr = lr,
                        .momentum = options_.momentum,
                        .nesterov = options_.nesterov,
                        .weight_decay = options_.weight_decay,
                        .clip = ClipFactor(gradient, options_.clip_norm)};
  for (size_t i = 0; i < weights.size(); ++i) {
    at::Tensor* velocity = has_velocity ? &velocity_[i] : nullptr;
    if (!HasPlainMemory(weights[i])) {
      StepWithOperators(step, gradient[i], velocity, weights[i]);
    } else if (weights[i].scalar_type() == at::kFloat) {
      StepPlain<float>(step, gradient[i], velocity, weights[i]);
    } else {
      StepPlain<double>(step, gradient[i], velocity, weights[i]);
    }
  }
  return absl::OkStatus();
}

}  // namespace fedlb::optim
