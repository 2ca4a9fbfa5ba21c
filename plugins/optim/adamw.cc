#include "optim/adamw.h"

#include <cstddef>

#include <ATen/core/grad_mode.h>

#include "fedlb/status.h"
#include "optim/adam_step.h"
#include "optim/common.h"
#include "optim/layerwise.h"

namespace fedlb::optim {

ParamSchema<AdamWOptions> AdamW::Schema() {
  return ParamSchema<Options>()
      .Add("lr", &Options::lr, kLrDescription, AtLeast(0))
      .Add("beta1", &Options::beta1, kBeta1Description, InHalfOpen(0, 1))
      .Add("beta2", &Options::beta2, kBeta2Description, InHalfOpen(0, 1))
      .Add("eps", &Options::eps, kEpsDescription, GreaterThan(0))
      .Add("weight_decay", &Options::weight_decay,
           "Share of the weights that a step of rate 1 takes away, apart from "
           "the gradient and its moments.",
           AtLeast(0))
      .Add("exclude_1d", &Options::exclude_1d,
           "Leave tensors of at most one dimension (biases, scales of "
           "normalisation) out of weight decay.")
      .Add("clip_norm", &Options::clip_norm, kClipNormDescription, AtLeast(0));
}

absl::StatusOr<std::unique_ptr<AdamW>> AdamW::Create(
    const Options& options, const ComponentContext& /*context*/) {
  return std::unique_ptr<AdamW>(new AdamW(options));
}

OptimizerTraits AdamW::traits() const {
  return {.scale_invariant = true, .clips = options_.clip_norm > 0};
}

absl::Status AdamW::DoStep(const TensorList& gradient, double lr,
                           TensorList& weights) {
  const at::NoGradGuard no_grad;
  FEDLB_RETURN_IF_ERROR(FitState(weights));
  AdamStep step = {.beta1 = options_.beta1,
                   .beta2 = options_.beta2,
                   .eps = options_.eps,
                   .clip = ClipFactor(gradient, options_.clip_norm),
                   .step_size = lr};
  CorrectBias(CountStep(), step);
  for (size_t i = 0; i < weights.size(); ++i) {
    step.shrink = IsExcluded(weights[i], options_.exclude_1d)
                      ? 1
                      : 1 - lr * options_.weight_decay;
    TakeStep(step, gradient[i], group(0)[i], group(1)[i], weights[i]);
  }
  return absl::OkStatus();
}

}  // namespace fedlb::optim
