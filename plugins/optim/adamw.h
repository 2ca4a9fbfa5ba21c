// AdamW.

#ifndef FEDLB_PLUGINS_OPTIM_ADAMW_H_
#define FEDLB_PLUGINS_OPTIM_ADAMW_H_

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/optimizer.h"
#include "fedlb/param_schema.h"
#include "fedlb/tensor_list.h"
#include "optim/stateful_optimizer.h"

namespace fedlb::optim {

struct AdamWOptions {
  double lr = 0.001;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0.01;
  bool exclude_1d = false;
  double clip_norm = 0;
};

// I. Loshchilov and F. Hutter, "Decoupled Weight Decay Regularization", ICLR
// 2019, Algorithm 2, as torch.optim.AdamW has it: the weights shrink by
// 1 - lr * weight_decay before Adam's step, whose moments see no decay. The
// paper's algorithm scales decay by the schedule alone; here the whole rate
// does.
class AdamW final : public StatefulOptimizer {
 public:
  using Options = AdamWOptions;
  static constexpr char kName[] = "adamw";
  static constexpr char kSummary[] =
      "Adam with decoupled weight decay and clipping.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<AdamW>> Create(
      const Options& options, const ComponentContext& context);

  double base_lr() const override { return options_.lr; }
  OptimizerTraits traits() const override;

 private:
  explicit AdamW(const Options& options)
      : StatefulOptimizer({{"first_moment"}, {"second_moment"}},
                          Steps::kCounted),
        options_(options) {}

  absl::Status DoStep(const TensorList& gradient, double lr,
                      TensorList& weights) override;

  const Options options_;
};

}  // namespace fedlb::optim

#endif  // FEDLB_PLUGINS_OPTIM_ADAMW_H_
