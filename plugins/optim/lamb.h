// LAMB.

#ifndef FEDLB_PLUGINS_OPTIM_LAMB_H_
#define FEDLB_PLUGINS_OPTIM_LAMB_H_

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/optimizer.h"
#include "fedlb/param_schema.h"
#include "fedlb/tensor_list.h"
#include "optim/stateful_optimizer.h"

namespace fedlb::optim {

struct LambOptions {
  double lr = 0.001;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-6;
  double weight_decay = 0.01;
  bool exclude_1d = true;
  double clip_norm = 0;
};

// Y. You et al., "Large Batch Optimization for Deep Learning: Training BERT in
// 76 minutes", ICLR 2020, Algorithm 2, for each tensor
//   u = m' / (sqrt(v') + eps) + weight_decay * w,  w -= lr * |w| / |u| * u,
// where m' and v' are Adam's moments, corrected for their start at 0. The
// paper's phi is the identity, and |w| / |u| is 1 where either is 0, as in
// optax.lamb. A tensor that exclude_1d leaves out takes Adam's step.
class Lamb final : public StatefulOptimizer {
 public:
  using Options = LambOptions;
  static constexpr char kName[] = "lamb";
  static constexpr char kSummary[] =
      "Adam's direction, scaled for each layer to its weights' norm.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Lamb>> Create(
      const Options& options, const ComponentContext& context);

  double base_lr() const override { return options_.lr; }
  OptimizerTraits traits() const override;

 private:
  explicit Lamb(const Options& options)
      : StatefulOptimizer({{"first_moment"}, {"second_moment"}},
                          Steps::kCounted),
        options_(options) {}

  absl::Status DoStep(const TensorList& gradient, double lr,
                      TensorList& weights) override;

  const Options options_;
};

}  // namespace fedlb::optim

#endif  // FEDLB_PLUGINS_OPTIM_LAMB_H_
