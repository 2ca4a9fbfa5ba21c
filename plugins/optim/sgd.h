// Stochastic gradient descent with momentum.

#ifndef FEDLB_PLUGINS_OPTIM_SGD_H_
#define FEDLB_PLUGINS_OPTIM_SGD_H_

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/optimizer.h"
#include "fedlb/param_schema.h"
#include "fedlb/tensor_list.h"
#include "optim/stateful_optimizer.h"

namespace fedlb::optim {

struct SgdOptions {
  double lr = 0.1;
  double momentum = 0;
  bool nesterov = false;
  double weight_decay = 0;
  double clip_norm = 0;
};

// The rule of torch.optim.SGD with dampening 0:
//   g' = clip * g + weight_decay * w,  v = momentum * v + g',
//   w -= lr * v,  or with nesterov  w -= lr * (g' + momentum * v).
// The rate stands outside the momentum, so that a schedule needs no correction
// of v (P. Goyal et al., "Accurate, Large Minibatch SGD", 2017, Eq 9 and 10).
class Sgd : public StatefulOptimizer {
 public:
  using Options = SgdOptions;
  static constexpr char kName[] = "sgd";
  static constexpr char kSummary[] =
      "Stochastic gradient descent with momentum, weight decay and clipping.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Sgd>> Create(
      const Options& options, const ComponentContext& context);

  double base_lr() const override { return options_.lr; }
  OptimizerTraits traits() const override;

 protected:
  explicit Sgd(const Options& options);

 private:
  absl::Status DoStep(const TensorList& gradient, double lr,
                      TensorList& weights) override;

  const Options options_;
};

}  // namespace fedlb::optim

#endif  // FEDLB_PLUGINS_OPTIM_SGD_H_
