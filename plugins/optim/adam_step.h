// The step that Adam and its relatives have in common.

#ifndef FEDLB_PLUGINS_OPTIM_ADAM_STEP_H_
#define FEDLB_PLUGINS_OPTIM_ADAM_STEP_H_

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace fedlb::optim {

// How the running mean of the squared gradient moves.
enum class SecondMoment {
  kMean,  // v = beta2 v + (1 - beta2) g^2
  // v = v - (1 - beta2) sign(v - g^2) g^2: by a share of g^2 however large v
  // is. M. Zaheer et al., "Adaptive Methods for Nonconvex Optimization",
  // NeurIPS 2018, Algorithm 2.
  kYogi,
};

// g = clip * gradient + l2 * w
// m = beta1 m + (1 - beta1) g, and v by `second_moment`
// w = shrink * w - step_size * m / (sqrt(v) * root_factor + eps)
struct AdamStep {
  double beta1;
  double beta2;
  double eps;
  double clip = 1;
  double l2 = 0;
  double shrink = 1;
  double step_size;
  double root_factor = 1;
  SecondMoment second_moment = SecondMoment::kMean;
};

// Makes up for moments that started at 0, in step t = 1, 2, ...:
//   step_size /= 1 - beta1^t,  root_factor = 1 / sqrt(1 - beta2^t).
// D. Kingma and J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015,
// Algorithm 1.
void CorrectBias(int64_t t, AdamStep& step);

// Takes the step with one tensor of weights and its two moments.
void TakeStep(const AdamStep& step, const at::Tensor& gradient,
              at::Tensor& first, at::Tensor& second, at::Tensor& weight);

}  // namespace fedlb::optim

#endif  // FEDLB_PLUGINS_OPTIM_ADAM_STEP_H_
