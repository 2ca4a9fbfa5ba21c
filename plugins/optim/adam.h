// Adam.

#ifndef FEDLB_PLUGINS_OPTIM_ADAM_H_
#define FEDLB_PLUGINS_OPTIM_ADAM_H_

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/optimizer.h"
#include "fedlb/param_schema.h"
#include "fedlb/tensor_list.h"
#include "optim/stateful_optimizer.h"

namespace fedlb::optim {

struct AdamOptions {
  double lr = 0.001;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;
  double clip_norm = 0;
};

// D. Kingma and J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015,
// Algorithm 1, as torch.optim.Adam has it: eps is added to the corrected root,
// and weight decay is part of the gradient (L2), not decoupled.
class Adam final : public StatefulOptimizer {
 public:
  using Options = AdamOptions;
  static constexpr char kName[] = "adam";
  static constexpr char kSummary[] = "Adam with L2 weight decay and clipping.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Adam>> Create(
      const Options& options, const ComponentContext& context);

  double base_lr() const override { return options_.lr; }
  OptimizerTraits traits() const override;

 private:
  explicit Adam(const Options& options)
      : StatefulOptimizer({{"first_moment"}, {"second_moment"}},
                          Steps::kCounted),
        options_(options) {}

  absl::Status DoStep(const TensorList& gradient, double lr,
                      TensorList& weights) override;

  const Options options_;
};

}  // namespace fedlb::optim

#endif  // FEDLB_PLUGINS_OPTIM_ADAM_H_
