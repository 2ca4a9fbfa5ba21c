#include "optim/adam_step.h"

#include <cmath>

#include "optim/common.h"

namespace fedlb::optim {
namespace {

template <SecondMoment kSecondMoment, typename T>
void Loop(const AdamStep& step, int64_t size, const T* __restrict__ gradient,
          T* __restrict__ first, T* __restrict__ second,
          T* __restrict__ weight) {
  const T keep1 = static_cast<T>(step.beta1);
  const T keep2 = static_cast<T>(step.beta2);
  const T take1 = static_cast<T>(1 - step.beta1);
  const T take2 = static_cast<T>(1 - step.beta2);
  const T eps = static_cast<T>(step.eps);
  const T clip = static_cast<T>(step.clip);
  const T l2 = static_cast<T>(step.l2);
  const T shrink = static_cast<T>(step.shrink);
  const T step_size = static_cast<T>(step.step_size);
  const T root_factor = static_cast<T>(step.root_factor);
  for (int64_t i = 0; i < size; ++i) {
    const T g = clip * gradient[i] + l2 * weight[i];
    first[i] = keep1 * first[i] + take1 * g;
    if constexpr (kSecondMoment == SecondMoment::kMean) {
      second[i] = keep2 * second[i] + take2 * g * g;
    } else {
      const T square = g * g;
      const T above = second[i] > square ? square : 0;
      const T below = second[i] < square ? square : 0;
      second[i] += take2 * (below - above);
    }
    weight[i] =
        shrink * weight[i] -
        step_size * first[i] / (std::sqrt(second[i]) * root_factor + eps);
  }
}

template <typename T>
void StepPlain(const AdamStep& step, const at::Tensor& gradient,
               at::Tensor& first, at::Tensor& second, at::Tensor& weight) {
  const at::Tensor g = InOrderOf(weight, gradient);
  const auto loop = step.second_moment == SecondMoment::kMean
                        ? Loop<SecondMoment::kMean, T>
                        : Loop<SecondMoment::kYogi, T>;
  loop(step, weight.numel(), g.const_data_ptr<T>(), first.mutable_data_ptr<T>(),
       second.mutable_data_ptr<T>(), weight.mutable_data_ptr<T>());
}

void StepWithOperators(const AdamStep& step, const at::Tensor& gradient,
                       at::Tensor& first, at::Tensor& second,
                       at::Tensor& weight) {
  at::Tensor g = gradient.mul(step.clip);
  g.add_(weight, step.l2);
  first.mul_(step.beta1).add_(g, 1 - step.beta1);
  if (step.second_moment == SecondMoment::kMean) {
    second.mul_(step.beta2).addcmul_(g, g, 1 - step.beta2);
  } else {
    const at::Tensor square = g.mul(g);
    second.addcmul_(square.sub(second).sign_(), square, 1 - step.beta2);
  }
  const at::Tensor root = second.sqrt().mul_(step.root_factor).add_(step.eps);
  weight.mul_(step.shrink).addcdiv_(first, root, -step.step_size);
}

}  // namespace

void CorrectBias(int64_t t, AdamStep& step) {
  const auto exponent = static_cast<double>(t);
  step.step_size /= 1 - std::pow(step.beta1, exponent);
  step.root_factor = 1 / std::sqrt(1 - std::pow(step.beta2, exponent));
}

void TakeStep(const AdamStep& step, const at::Tensor& gradient,
              at::Tensor& first, at::Tensor& second, at::Tensor& weight) {
  LoopOrOperators(
      weight,
      [&](auto zero) {
        StepPlain<decltype(zero)>(step, gradient, first, second, weight);
      },
      [&] { StepWithOperators(step, gradient, first, second, weight); });
}

}  // namespace fedlb::optim
