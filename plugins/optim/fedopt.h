// Server optimizers of federated learning: FedAvgM, FedAdam and FedYogi.

#ifndef FEDLB_PLUGINS_OPTIM_FEDOPT_H_
#define FEDLB_PLUGINS_OPTIM_FEDOPT_H_

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/optimizer.h"
#include "fedlb/param_schema.h"
#include "fedlb/tensor_list.h"
#include "optim/adam_step.h"
#include "optim/sgd.h"
#include "optim/stateful_optimizer.h"

namespace fedlb::optim {

struct FedAvgMOptions {
  double lr = 1;
  double momentum = 0.9;
  double clip_norm = 0;
};

// T.-M. Hsu, H. Qi and M. Brown, "Measuring the Effects of Non-Identical Data
// Distribution for Federated Visual Classification", arXiv 1909.06335: momentum
// on the pseudo-gradient g, minus the mean change that the clients made,
//   v = momentum * v + g,  w -= lr * v.
class FedAvgM final : public Sgd {
 public:
  using Options = FedAvgMOptions;
  static constexpr char kName[] = "fedavgm";
  static constexpr char kSummary[] =
      "Federated averaging with momentum on the server.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<FedAvgM>> Create(
      const Options& options, const ComponentContext& context);

 private:
  explicit FedAvgM(const Options& options)
      : Sgd({.lr = options.lr,
             .momentum = options.momentum,
             .clip_norm = options.clip_norm}) {}
};

struct FedAdaptiveOptions {
  double lr = 0.01;
  double beta1 = 0.9;
  double beta2 = 0.99;
  double tau = 0.001;
  double clip_norm = 0;
};

// S. Reddi et al., "Adaptive Federated Optimization", ICLR 2021, Algorithm 2,
// on the pseudo-gradient g, minus the mean change that the clients made:
//   m = beta1 m + (1 - beta1) g,  v as `second_moment` has it,
//   w -= lr * m / (sqrt(v) + tau).
// v starts at tau^2, and as in the paper neither moment is corrected for its
// start.
class FedAdaptive : public StatefulOptimizer {
 public:
  using Options = FedAdaptiveOptions;

  static ParamSchema<Options> Schema();

  double base_lr() const override { return options_.lr; }
  OptimizerTraits traits() const override;

 protected:
  FedAdaptive(const Options& options, SecondMoment second_moment)
      : StatefulOptimizer(
            {{"first_moment"}, {"second_moment", options.tau * options.tau}},
            Steps::kNotCounted),
        options_(options),
        second_moment_(second_moment) {}

 private:
  absl::Status DoStep(const TensorList& gradient, double lr,
                      TensorList& weights) override;

  const Options options_;
  const SecondMoment second_moment_;
};

class FedAdam final : public FedAdaptive {
 public:
  static constexpr char kName[] = "fedadam";
  static constexpr char kSummary[] =
      "Adam on the server, on the mean change that the clients made.";

  static absl::StatusOr<std::unique_ptr<FedAdam>> Create(
      const Options& options, const ComponentContext& context);

 private:
  explicit FedAdam(const Options& options)
      : FedAdaptive(options, SecondMoment::kMean) {}
};

class FedYogi final : public FedAdaptive {
 public:
  static constexpr char kName[] = "fedyogi";
  static constexpr char kSummary[] =
      "FedAdam with a second moment that a small change lowers only slowly.";

  static absl::StatusOr<std::unique_ptr<FedYogi>> Create(
      const Options& options, const ComponentContext& context);

 private:
  explicit FedYogi(const Options& options)
      : FedAdaptive(options, SecondMoment::kYogi) {}
};

}  // namespace fedlb::optim

#endif  // FEDLB_PLUGINS_OPTIM_FEDOPT_H_
