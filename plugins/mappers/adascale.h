// The gradient mapper that multiplies by the gain that a large batch deserves.

#ifndef FEDLB_PLUGINS_MAPPERS_ADASCALE_H_
#define FEDLB_PLUGINS_MAPPERS_ADASCALE_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/gradient_mapper.h"
#include "fedlb/param_schema.h"

namespace fedlb::mappers {

struct AdaScaleOptions {
  int64_t small_batch_size = 64;
};

// T. Johnson et al., "AdaScale SGD: A User-Friendly Algorithm for Distributed
// Training", ICML 2020: the gain
//   r = (v + q) / (v / S + q) in [1, S],  S = batch / small_batch_size,
// with v the variance of a small batch's gradient and q the squared norm of the
// true one. Both are estimated from the M partial means G of a step,
//   q = (M |g|^2 - mean |G|^2) / (M - 1),
//   v = (mean |G|^2 - |g|^2) S / (M - 1),
// and averaged over steps with the decay max(1 - S / 1000, 0), corrected for
// its start. Only the gain is here; the schedule still counts steps, where the
// paper has it count gains.
class AdaScale final : public GradientMapper {
 public:
  using Options = AdaScaleOptions;
  static constexpr char kName[] = "adascale";
  static constexpr char kSummary[] =
      "Multiplies the gradient by AdaScale's gain for the batch size.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<AdaScale>> Create(
      const Options& options, const ComponentContext& context);

  ScalarMap Report() const override { return {{"gain", last_gain_}}; }
  bool NeedsPartialMeans() const override { return true; }
  bool LearnsFromAggregate() const override { return true; }
  absl::Status ObserveAggregate(const StepContext& context,
                                const TensorList& aggregate) override;
  absl::Status CheckOptimizer(const OptimizerTraits& traits,
                              Logger& logger) const override;
  ComponentState SaveState() const override;
  absl::Status LoadState(const ComponentState& state) override;

 private:
  explicit AdaScale(const Options& options) : options_(options) {}

  absl::Status DoMap(const StepContext& context, TensorList& gradient) override;
  // S for a batch.
  double ScaleOf(const StepContext& context) const;
  absl::Status Learn(const StepContext& context, double squared_norm);

  const Options options_;
  // Running means without the correction, and the weight that they lack.
  double variance_ = 0;
  double squared_norm_ = 0;
  double missing_weight_ = 1;
  double last_gain_ = 1;
};

}  // namespace fedlb::mappers

#endif  // FEDLB_PLUGINS_MAPPERS_ADASCALE_H_
