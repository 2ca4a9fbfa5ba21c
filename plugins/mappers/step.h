// The step function: scales gradients up while training is not critical.

#ifndef FEDLB_PLUGINS_MAPPERS_STEP_H_
#define FEDLB_PLUGINS_MAPPERS_STEP_H_

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/gradient_mapper.h"
#include "fedlb/param_schema.h"

namespace fedlb::mappers {

enum class ScalePhase { kNoncritical, kCritical, kAlways, kNever };

struct StepOptions {
  double gain = 4;
  ScalePhase scale_phase = ScalePhase::kNoncritical;
  double clip_norm = 0;
};

// S. Tyagi, "On Using Large-Batches in Federated Learning", 2025, Eq 6: the
// gradient times gain outside critical phases and times 1 within them. The
// paper's definition is scale_phase = "noncritical"; its account of Fig 8
// (VGG11, threshold 0.8) fits "critical".
//
// Adding (gain - 1) g is the paper's Eq 7; unlike the noise of small batches
// this has the gradient's direction, and under SGD it equals a larger learning
// rate with weight decay left out.
class Step final : public GradientMapper {
 public:
  using Options = StepOptions;
  static constexpr char kName[] = "step";
  static constexpr char kSummary[] =
      "Multiplies the gradient by a gain, by default outside critical phases.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Step>> Create(
      const Options& options, const ComponentContext& context);

  // "gain", "scaled" (1 when the gain was applied and is not 1) and, with
  // clip_norm, "clip_factor".
  ScalarMap Report() const override;
  bool ReadsCriticalPhase() const override {
    return options_.scale_phase == ScalePhase::kNoncritical ||
           options_.scale_phase == ScalePhase::kCritical;
  }
  absl::Status CheckOptimizer(const OptimizerTraits& traits,
                              Logger& logger) const override;

 private:
  explicit Step(const Options& options) : options_(options) {}

  absl::Status DoMap(const StepContext& context, TensorList& gradient) override;
  bool ScalesWhen(bool critical) const;

  const Options options_;
  double last_gain_ = 1;
  double last_clip_factor_ = 1;
};

}  // namespace fedlb::mappers

#endif  // FEDLB_PLUGINS_MAPPERS_STEP_H_
