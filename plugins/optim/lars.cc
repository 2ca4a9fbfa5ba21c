#include "optim/lars.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include "fedlb/status.h"
#include "optim/common.h"
#include "optim/layerwise.h"

namespace fedlb::optim {
namespace {

// With decay 0 and a ratio of 1 for tensors that are left out.
struct LarsStep {
  double lr;
  double coefficient;  // of the ratio of norms
  double momentum;
  double weight_decay;
  double clip;
  bool adapts = true;
};

// `Options` are those of Lars or TvLars; `factor` is that of their ratio.
template <typename Options>
LarsStep StepOf(const Options& options, double lr, double factor,
                const TensorList& gradient) {
  return {.lr = lr,
          .coefficient = options.trust_coefficient * factor,
          .momentum = options.momentum,
          .weight_decay = options.weight_decay,
          .clip = ClipFactor(gradient, options.clip_norm)};
}

template <typename T>
double RatioOfNorms(const LarsStep& step, int64_t size,
                    const T* __restrict__ gradient,
                    const T* __restrict__ weight) {
  const T clip = static_cast<T>(step.clip);
  const T decay = static_cast<T>(step.weight_decay);
  SquareSum weight_square;
  SquareSum update_square;
  T update[kBlock];
  for (int64_t begin = 0; begin < size; begin += kBlock) {
    const int64_t count = std::min(kBlock, size - begin);
    for (int64_t i = 0; i < count; ++i) {
      update[i] = clip * gradient[begin + i] + decay * weight[begin + i];
    }
    weight_square.Add(weight + begin, count);
    update_square.Add(update, count);
  }
  return TrustRatio(step.coefficient, weight_square.Total(),
                    update_square.Total());
}

// Without momentum `velocity` is not read.
template <typename T>
void Move(const LarsStep& step, double rate, int64_t size,
          const T* __restrict__ gradient, T* __restrict__ velocity,
          T* __restrict__ weight) {
  const T momentum = static_cast<T>(step.momentum);
  const T clip = static_cast<T>(step.clip);
  const T decay = static_cast<T>(step.weight_decay);
  const T factor = static_cast<T>(rate);
  if (step.momentum == 0) {
    for (int64_t i = 0; i < size; ++i) {
      weight[i] -= factor * (clip * gradient[i] + decay * weight[i]);
    }
  } else {
    for (int64_t i = 0; i < size; ++i) {
      const T update = clip * gradient[i] + decay * weight[i];
      velocity[i] = momentum * velocity[i] + factor * update;
      weight[i] -= velocity[i];
    }
  }
}

template <typename T>
void StepPlain(const LarsStep& step, const at::Tensor& gradient,
               at::Tensor* velocity, at::Tensor& weight) {
  const at::Tensor ordered = InOrderOf(weight, gradient);
  const T* g = ordered.const_data_ptr<T>();
  const double ratio = step.adapts ? RatioOfNorms<T>(step, weight.numel(), g,
                                                     weight.const_data_ptr<T>())
                                   : 1;
  Move<T>(step, step.lr * ratio, weight.numel(), g,
          velocity ? velocity->mutable_data_ptr<T>() : nullptr,
          weight.mutable_data_ptr<T>());
}

void StepWithOperators(const LarsStep& step, const at::Tensor& gradient,
                       at::Tensor* velocity, at::Tensor& weight) {
  at::Tensor update = gradient.mul(step.clip);
  update.add_(weight, step.weight_decay);
  const double ratio = step.adapts
                           ? TrustRatio(step.coefficient, SquaredNorm({weight}),
                                        SquaredNorm({update}))
                           : 1;
  update.mul_(step.lr * ratio);
  if (velocity != nullptr) {
    update = velocity->mul_(step.momentum).add_(update);
  }
  weight.sub_(update);
}

// The step with all tensors; `velocity` is null without momentum.
void StepAll(LarsStep step, bool exclude_1d, const TensorList& gradient,
             TensorList* velocity, TensorList& weights) {
  const double weight_decay = step.weight_decay;
  for (size_t i = 0; i < weights.size(); ++i) {
    step.adapts = !IsExcluded(weights[i], exclude_1d);
    step.weight_decay = step.adapts ? weight_decay : 0;
    at::Tensor* kept = velocity == nullptr ? nullptr : &(*velocity)[i];
    LoopOrOperators(
        weights[i],
        [&](auto zero) {
          StepPlain<decltype(zero)>(step, gradient[i], kept, weights[i]);
        },
        [&] { StepWithOperators(step, gradient[i], kept, weights[i]); });
  }
}

constexpr char kTrustCoefficientDescription[] =
    "Share of a layer's norm that a step of rate 1 without momentum moves it.";

}  // namespace

ParamSchema<LarsOptions> Lars::Schema() {
  return ParamSchema<Options>()
      .Add("lr", &Options::lr, kLrDescription, AtLeast(0))
      .Add("trust_coefficient", &Options::trust_coefficient,
           kTrustCoefficientDescription, GreaterThan(0))
      .Add("momentum", &Options::momentum, kMomentumDescription,
           InHalfOpen(0, 1))
      .Add("weight_decay", &Options::weight_decay, kWeightDecayDescription,
           AtLeast(0))
      .Add("exclude_1d", &Options::exclude_1d, kExclude1dDescription)
      .Add("clip_norm", &Options::clip_norm, kClipNormDescription, AtLeast(0));
}

Lars::Lars(const Options& options)
    : StatefulOptimizer(VelocityGroups(options.momentum), Steps::kNotCounted),
      options_(options) {}

absl::StatusOr<std::unique_ptr<Lars>> Lars::Create(
    const Options& options, const ComponentContext& /*context*/) {
  return std::unique_ptr<Lars>(new Lars(options));
}

OptimizerTraits Lars::traits() const {
  return {.scale_invariant = true, .clips = options_.clip_norm > 0};
}

absl::Status Lars::DoStep(const TensorList& gradient, double lr,
                          TensorList& weights) {
  const at::NoGradGuard no_grad;
  TensorList ordered = InOrderOfIndices(weights);
  FEDLB_RETURN_IF_ERROR(FitState(ordered));
  StepAll(StepOf(options_, lr, 1, gradient), options_.exclude_1d, gradient,
          options_.momentum == 0 ? nullptr : &group(0), ordered);
  CopyBack(ordered, weights);
  return absl::OkStatus();
}

ParamSchema<TvLarsOptions> TvLars::Schema() {
  return ParamSchema<Options>()
      .Add("lr", &Options::lr, kLrDescription, AtLeast(0))
      .Add("trust_coefficient", &Options::trust_coefficient,
           kTrustCoefficientDescription, GreaterThan(0))
      .Add("lambda", &Options::lambda,
           "How fast the ratio falls: its factor is 1 / (alpha + exp(lambda * "
           "(t - delay))) + gamma_min in the optimizer's step t = 0, 1, ....",
           AtLeast(0))
      .Add("delay", &Options::delay,
           "Steps before the ratio begins to fall for good.", AtLeast(0))
      .Add("alpha", &Options::alpha,
           "1 / alpha + gamma_min is the factor's upper bound.", GreaterThan(0))
      .Add("gamma_min", &Options::gamma_min,
           "What the factor falls to; 1 ends as lars.", AtLeast(0))
      .Add("momentum", &Options::momentum, kMomentumDescription,
           InHalfOpen(0, 1))
      .Add("weight_decay", &Options::weight_decay, kWeightDecayDescription,
           AtLeast(0))
      .Add("exclude_1d", &Options::exclude_1d, kExclude1dDescription)
      .Add("clip_norm", &Options::clip_norm, kClipNormDescription, AtLeast(0));
}

TvLars::TvLars(const Options& options)
    : StatefulOptimizer(VelocityGroups(options.momentum), Steps::kCounted),
      options_(options) {}

absl::StatusOr<std::unique_ptr<TvLars>> TvLars::Create(
    const Options& options, const ComponentContext& /*context*/) {
  return std::unique_ptr<TvLars>(new TvLars(options));
}

OptimizerTraits TvLars::traits() const {
  return {.scale_invariant = true, .clips = options_.clip_norm > 0};
}

absl::Status TvLars::DoStep(const TensorList& gradient, double lr,
                            TensorList& weights) {
  const at::NoGradGuard no_grad;
  TensorList ordered = InOrderOfIndices(weights);
  FEDLB_RETURN_IF_ERROR(FitState(ordered));
  const auto since_delay =
      static_cast<double>(CountStep() - 1 - options_.delay);
  const double factor =
      1 / (options_.alpha + std::exp(options_.lambda * since_delay)) +
      options_.gamma_min;
  StepAll(StepOf(options_, lr, factor, gradient), options_.exclude_1d, gradient,
          options_.momentum == 0 ? nullptr : &group(0), ordered);
  CopyBack(ordered, weights);
  return absl::OkStatus();
}

}  // namespace fedlb::optim
