// The gradient mapper that lengthens gradients up to a norm.

#ifndef FEDLB_PLUGINS_MAPPERS_NORM_MATCH_H_
#define FEDLB_PLUGINS_MAPPERS_NORM_MATCH_H_

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/gradient_mapper.h"
#include "fedlb/param_schema.h"

namespace fedlb::mappers {

struct NormMatchOptions {
  double norm = 4;
  double max_gain = 16;
};

// g * min(max_gain, norm / |g|). Small-batch steps add up to about the same
// distance all through training, however small the large batch's gradient
// becomes.
class NormMatch final : public GradientMapper {
 public:
  using Options = NormMatchOptions;
  static constexpr char kName[] = "norm_match";
  static constexpr char kSummary[] =
      "Scales the gradient to a norm, by no more than a gain.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<NormMatch>> Create(
      const Options& options, const ComponentContext& context);

  ScalarMap Report() const override { return {{"gain", last_gain_}}; }
  absl::Status CheckOptimizer(const OptimizerTraits& traits,
                              Logger& logger) const override;

 private:
  explicit NormMatch(const Options& options) : options_(options) {}

  absl::Status DoMap(const StepContext& context, TensorList& gradient) override;

  const Options options_;
  double last_gain_ = 1;
};

}  // namespace fedlb::mappers

#endif  // FEDLB_PLUGINS_MAPPERS_NORM_MATCH_H_
