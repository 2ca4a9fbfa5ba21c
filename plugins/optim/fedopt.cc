#include "optim/fedopt.h"

#include <cstddef>

#include <ATen/core/grad_mode.h>

#include "fedlb/status.h"
#include "optim/common.h"

namespace fedlb::optim {
namespace {

constexpr char kServerLrDescription[] =
    "Learning rate; as [server_optimizer] it is the same in every round, "
    "because [lr_schedule] acts on the clients.";

}  // namespace

ParamSchema<FedAvgMOptions> FedAvgM::Schema() {
  return ParamSchema<Options>()
      .Add("lr", &Options::lr, kServerLrDescription, AtLeast(0))
      .Add("momentum", &Options::momentum, kMomentumDescription,
           InHalfOpen(0, 1))
      .Add("clip_norm", &Options::clip_norm, kClipNormDescription, AtLeast(0));
}

absl::StatusOr<std::unique_ptr<FedAvgM>> FedAvgM::Create(
    const Options& options, const ComponentContext& /*context*/) {
  return std::unique_ptr<FedAvgM>(new FedAvgM(options));
}

ParamSchema<FedAdaptiveOptions> FedAdaptive::Schema() {
  return ParamSchema<Options>()
      .Add("lr", &Options::lr, kServerLrDescription, AtLeast(0))
      .Add("beta1", &Options::beta1, kBeta1Description, InHalfOpen(0, 1))
      .Add("beta2", &Options::beta2, kBeta2Description, InHalfOpen(0, 1))
      .Add("tau", &Options::tau,
           "Added to the root of the second moment, which starts at tau^2: a "
           "small value adapts more.",
           GreaterThan(0))
      .Add("clip_norm", &Options::clip_norm, kClipNormDescription, AtLeast(0));
}

OptimizerTraits FedAdaptive::traits() const {
  return {.scale_invariant = true, .clips = options_.clip_norm > 0};
}

absl::Status FedAdaptive::DoStep(const TensorList& gradient, double lr,
                                 TensorList& weights) {
  const at::NoGradGuard no_grad;
  FEDLB_RETURN_IF_ERROR(FitState(weights));
  const AdamStep step = {.beta1 = options_.beta1,
                         .beta2 = options_.beta2,
                         .eps = options_.tau,
                         .clip = ClipFactor(gradient, options_.clip_norm),
                         .step_size = lr,
                         .second_moment = second_moment_};
  for (size_t i = 0; i < weights.size(); ++i) {
    TakeStep(step, gradient[i], group(0)[i], group(1)[i], weights[i]);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<FedAdam>> FedAdam::Create(
    const Options& options, const ComponentContext& /*context*/) {
  return std::unique_ptr<FedAdam>(new FedAdam(options));
}

absl::StatusOr<std::unique_ptr<FedYogi>> FedYogi::Create(
    const Options& options, const ComponentContext& /*context*/) {
  return std::unique_ptr<FedYogi>(new FedYogi(options));
}

}  // namespace fedlb::optim
