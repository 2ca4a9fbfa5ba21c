#include "optim/lamb.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include "fedlb/status.h"
#include "optim/adam_step.h"
#include "optim/common.h"
#include "optim/layerwise.h"

namespace fedlb::optim {
namespace {

struct LambStep {
  AdamStep adam;  // of rate 1
  double weight_decay;
  double lr;
};

// u of the class comment. It is computed twice, for its norm and for the step:
// that is faster than to write it to memory and read it back.
template <typename T>
class Direction {
 public:
  explicit Direction(const LambStep& step)
      : step_size_(static_cast<T>(step.adam.step_size)),
        root_factor_(static_cast<T>(step.adam.root_factor)),
        eps_(static_cast<T>(step.adam.eps)),
        decay_(static_cast<T>(step.weight_decay)) {}

  T operator()(T first, T second, T weight) const {
    return step_size_ * first / (std::sqrt(second) * root_factor_ + eps_) +
           decay_ * weight;
  }

 private:
  const T step_size_;
  const T root_factor_;
  const T eps_;
  const T decay_;
};

template <typename T>
void StepPlain(const LambStep& step, int64_t size,
               const T* __restrict__ gradient, T* __restrict__ first,
               T* __restrict__ second, T* __restrict__ weight) {
  const T keep1 = static_cast<T>(step.adam.beta1);
  const T keep2 = static_cast<T>(step.adam.beta2);
  const T take1 = static_cast<T>(1 - step.adam.beta1);
  const T take2 = static_cast<T>(1 - step.adam.beta2);
  const T clip = static_cast<T>(step.adam.clip);
  const Direction<T> direction(step);
  SquareSum weight_square;
  SquareSum update_square;
  T update[kBlock];
  for (int64_t begin = 0; begin < size; begin += kBlock) {
    const int64_t count = std::min(kBlock, size - begin);
    for (int64_t k = 0; k < count; ++k) {
      const int64_t i = begin + k;
      const T g = clip * gradient[i];
      first[i] = keep1 * first[i] + take1 * g;
      second[i] = keep2 * second[i] + take2 * g * g;
      update[k] = direction(first[i], second[i], weight[i]);
    }
    weight_square.Add(weight + begin, count);
    update_square.Add(update, count);
  }
  const T rate = static_cast<T>(
      step.lr * TrustRatio(1, weight_square.Total(), update_square.Total()));
  for (int64_t i = 0; i < size; ++i) {
    weight[i] -= rate * direction(first[i], second[i], weight[i]);
  }
}

template <typename T>
void StepPlain(const LambStep& step, const at::Tensor& gradient,
               at::Tensor& first, at::Tensor& second, at::Tensor& weight) {
  const at::Tensor g = InOrderOf(weight, gradient);
  StepPlain<T>(step, weight.numel(), g.const_data_ptr<T>(),
               first.mutable_data_ptr<T>(), second.mutable_data_ptr<T>(),
               weight.mutable_data_ptr<T>());
}

void StepWithOperators(const LambStep& step, const at::Tensor& gradient,
                       at::Tensor& first, at::Tensor& second,
                       at::Tensor& weight) {
  const AdamStep& adam = step.adam;
  const at::Tensor g = gradient.mul(adam.clip);
  first.mul_(adam.beta1).add_(g, 1 - adam.beta1);
  second.mul_(adam.beta2).addcmul_(g, g, 1 - adam.beta2);
  const at::Tensor root = second.sqrt().mul_(adam.root_factor).add_(adam.eps);
  at::Tensor update = first.div(root).mul_(adam.step_size);
  update.add_(weight, step.weight_decay);
  weight.sub_(update, step.lr * TrustRatio(1, SquaredNorm({weight}),
                                           SquaredNorm({update})));
}

}  // namespace

ParamSchema<LambOptions> Lamb::Schema() {
  return ParamSchema<Options>()
      .Add("lr", &Options::lr, kLrDescription, AtLeast(0))
      .Add("beta1", &Options::beta1, kBeta1Description, InHalfOpen(0, 1))
      .Add("beta2", &Options::beta2, kBeta2Description, InHalfOpen(0, 1))
      .Add("eps", &Options::eps, kEpsDescription, GreaterThan(0))
      .Add("weight_decay", &Options::weight_decay,
           "Factor of the weights that is added to Adam's direction before the "
           "layer's rate is found; the moments see no decay.",
           AtLeast(0))
      .Add("exclude_1d", &Options::exclude_1d, kExclude1dDescription)
      .Add("clip_norm", &Options::clip_norm, kClipNormDescription, AtLeast(0));
}

absl::StatusOr<std::unique_ptr<Lamb>> Lamb::Create(
    const Options& options, const ComponentContext& /*context*/) {
  return std::unique_ptr<Lamb>(new Lamb(options));
}

OptimizerTraits Lamb::traits() const {
  return {.scale_invariant = true, .clips = options_.clip_norm > 0};
}

absl::Status Lamb::DoStep(const TensorList& gradient, double lr,
                          TensorList& weights) {
  const at::NoGradGuard no_grad;
  TensorList ordered = InOrderOfIndices(weights);
  FEDLB_RETURN_IF_ERROR(FitState(ordered));
  LambStep step = {.adam = {.beta1 = options_.beta1,
                            .beta2 = options_.beta2,
                            .eps = options_.eps,
                            .clip = ClipFactor(gradient, options_.clip_norm),
                            .step_size = 1},
                   .weight_decay = options_.weight_decay,
                   .lr = lr};
  CorrectBias(CountStep(), step.adam);
  AdamStep excluded = step.adam;
  excluded.step_size *= lr;
  for (size_t i = 0; i < weights.size(); ++i) {
    at::Tensor& first = group(0)[i];
    at::Tensor& second = group(1)[i];
    if (IsExcluded(ordered[i], options_.exclude_1d)) {
      TakeStep(excluded, gradient[i], first, second, ordered[i]);
      continue;
    }
    LoopOrOperators(
        ordered[i],
        [&](auto zero) {
          StepPlain<decltype(zero)>(step, gradient[i], first, second,
                                    ordered[i]);
        },
        [&] {
          StepWithOperators(step, gradient[i], first, second, ordered[i]);
        });
  }
  CopyBack(ordered, weights);
  return absl::OkStatus();
}

}  // namespace fedlb::optim
