// Stochastic gradient descent with momentum.

#ifndef FEDLB_PLUGINS_OPTIM_SGD_H_
#define FEDLB_PLUGINS_OPTIM_SGD_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/optimizer.h"
#include "fedlb/param_schema.h"
#include "fedlb/tensor_list.h"

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
class Sgd final : public Optimizer {
 public:
  using Options = SgdOptions;
  static constexpr char kName[] = "sgd";
  static constexpr char kSummary[] =
      "Stochastic gradient descent with momentum, weight decay and clipping.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Sgd>> Create(
      const Options& options, const ComponentContext& context);

  void Reset() override { velocity_.clear(); }
  double base_lr() const override { return options_.lr; }
  OptimizerTraits traits() const override;
  int64_t StateBytes(const TensorLayout& layout) const override;
  ComponentState SaveState() const override;
  absl::Status LoadState(const ComponentState& state) override;

 private:
  explicit Sgd(const Options& options) : options_(options) {}

  absl::Status DoStep(const TensorList& gradient, double lr,
                      TensorList& weights) override;

  const Options options_;
  TensorList velocity_;  // empty before the first step and without momentum
};

}  // namespace fedlb::optim

#endif  // FEDLB_PLUGINS_OPTIM_SGD_H_
