// LARS, and its variant with a rate that changes over time.

#ifndef FEDLB_PLUGINS_OPTIM_LARS_H_
#define FEDLB_PLUGINS_OPTIM_LARS_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/optimizer.h"
#include "fedlb/param_schema.h"
#include "fedlb/tensor_list.h"
#include "optim/stateful_optimizer.h"

namespace fedlb::optim {

struct LarsOptions {
  double lr = 1;
  double trust_coefficient = 0.001;
  double momentum = 0.9;
  double weight_decay = 0;
  bool exclude_1d = true;
  double clip_norm = 0;
};

// Y. You, I. Gitman and B. Ginsburg, "Large Batch Training of Convolutional
// Networks", arXiv 1708.03888, Algorithm 1, for each tensor
//   u = clip * g + weight_decay * w,
//   v = momentum * v + lr * trust_coefficient * |w| / |u| * u,  w -= v.
// The rate stands inside the momentum as in the paper, so that during a warm-up
// kept directions keep the rate of their own step. The denominator is |u| as in
// optax.lars, where the paper adds the norms of gradient and decay. Where |w|
// or |u| is 0, trust_coefficient * |w| / |u| is 1.
class Lars final : public StatefulOptimizer {
 public:
  using Options = LarsOptions;
  static constexpr char kName[] = "lars";
  static constexpr char kSummary[] =
      "Momentum with a rate for each layer, in proportion to its weights' norm "
      "over its gradient's.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Lars>> Create(
      const Options& options, const ComponentContext& context);

  double base_lr() const override { return options_.lr; }
  OptimizerTraits traits() const override;

 private:
  explicit Lars(const Options& options);

  absl::Status DoStep(const TensorList& gradient, double lr,
                      TensorList& weights) override;

  const Options options_;
};

struct TvLarsOptions {
  double lr = 1;
  double trust_coefficient = 0.001;
  double lambda = 0.001;
  int64_t delay = 0;
  double alpha = 0.1;
  double gamma_min = 0;
  double momentum = 0.9;
  double weight_decay = 0;
  bool exclude_1d = true;
  double clip_norm = 0;
};

// K. Do et al., "Revisiting LARS for Large Batch Training Generalization of
// Neural Networks", arXiv 2309.14053: the step of Lars with its ratio times
//   phi(t) = 1 / (alpha + exp(lambda * (t - delay))) + gamma_min,
// t = 0, 1, ... the steps since the optimizer was made or reset. A ratio of 1
// that stands in for norms of 0 or for an excluded tensor stays 1.
//
// This is the paper's form; alpha, lambda and trust_coefficient default to the
// values of the authors' code (KhoiDOO/tvlars@10bcfd2, opt/tvlars.py). That
// code knows no gamma_min, counts steps from 1, multiplies by phi only once
// `delay` has passed, without subtracting it, clamps both norms to 10 and keeps
// the rate outside the momentum.
class TvLars final : public StatefulOptimizer {
 public:
  using Options = TvLarsOptions;
  static constexpr char kName[] = "tvlars";
  static constexpr char kSummary[] =
      "LARS with a ratio that starts high and falls along a sigmoid, in place "
      "of a warm-up.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<TvLars>> Create(
      const Options& options, const ComponentContext& context);

  double base_lr() const override { return options_.lr; }
  OptimizerTraits traits() const override;

 private:
  explicit TvLars(const Options& options);

  absl::Status DoStep(const TensorList& gradient, double lr,
                      TensorList& weights) override;

  const Options options_;
};

}  // namespace fedlb::optim

#endif  // FEDLB_PLUGINS_OPTIM_LARS_H_
