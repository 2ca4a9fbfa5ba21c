#include "mappers/step.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "fedlb/status.h"
#include "fedlb/tensor_list.h"

namespace fedlb::mappers {

ParamSchema<StepOptions> Step::Schema() {
  return ParamSchema<Options>()
      .Add("gain", &Options::gain,
           "Factor on the gradient in the phases that scale_phase names. It "
           "acts before the optimizer adds weight decay, which it does not "
           "scale: sgd moves by lr * (gain * g + weight_decay * w).",
           GreaterThan(0))
      .AddChoice("scale_phase", &Options::scale_phase,
                 {{"noncritical", ScalePhase::kNoncritical},
                  {"critical", ScalePhase::kCritical},
                  {"always", ScalePhase::kAlways},
                  {"never", ScalePhase::kNever}},
                 "When the gain acts, by the detector of [critical_phase].")
      .Add("clip_norm", &Options::clip_norm,
           "Largest L2 norm of the gradient of all parameters together, "
           "enforced before the gain. 0 turns clipping off.",
           AtLeast(0));
}

absl::StatusOr<std::unique_ptr<Step>> Step::Create(
    const Options& options, const ComponentContext& /*context*/) {
  return std::unique_ptr<Step>(new Step(options));
}

ScalarMap Step::Report() const {
  ScalarMap report = {{"gain", last_gain_}, {"scaled", last_gain_ != 1}};
  if (options_.clip_norm > 0) {
    report["clip_factor"] = last_clip_factor_;
  }
  return report;
}

absl::Status Step::CheckOptimizer(const OptimizerTraits& traits,
                                  Logger& logger) const {
  if (options_.gain == 1 || options_.scale_phase == ScalePhase::kNever) {
    return absl::OkStatus();
  }
  if (traits.clips) {
    return ConfigError(absl::StrCat(
        "optimizer.clip_norm contradicts gradient_mapper.gain = ",
        options_.gain,
        ": clipping after scaling cancels the gain; set "
        "gradient_mapper.clip_norm instead, which clips before scaling"));
  }
  if (traits.scale_invariant) {
    logger.Warning(absl::StrCat(
        "gradient_mapper.gain = ", options_.gain,
        " has next to no effect: the optimizer's step does not depend on the "
        "gradient's scale, and each change of the gain distorts its running "
        "means for many steps; use optimizer sgd"));
  }
  return absl::OkStatus();
}

bool Step::ScalesWhen(bool critical) const {
  switch (options_.scale_phase) {
    case ScalePhase::kNoncritical:
      return !critical;
    case ScalePhase::kCritical:
      return critical;
    case ScalePhase::kAlways:
      return true;
    case ScalePhase::kNever:
      break;
  }
  return false;
}

absl::Status Step::DoMap(const StepContext& context, TensorList& gradient) {
  last_gain_ = ScalesWhen(context.critical) ? options_.gain : 1;
  last_clip_factor_ = 1;
  if (options_.clip_norm > 0) {
    // torch.nn.utils.clip_grad_norm_, its 1e-6 included.
    const double norm = std::sqrt(SquaredNorm(gradient));
    last_clip_factor_ = std::min(1.0, options_.clip_norm / (norm + 1e-6));
  }
  // Not touching the gradient makes gain 1 the identity bit for bit, whatever
  // the type's rounding and without a pass over memory.
  const double factor = last_clip_factor_ * last_gain_;
  if (factor != 1) {
    Scale(factor, gradient);
  }
  return absl::OkStatus();
}

}  // namespace fedlb::mappers
