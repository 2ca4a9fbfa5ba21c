// The gradient mapper that looks ahead by the gradient before.

#ifndef FEDLB_PLUGINS_MAPPERS_EXTRAPOLATION_H_
#define FEDLB_PLUGINS_MAPPERS_EXTRAPOLATION_H_

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/gradient_mapper.h"
#include "fedlb/param_schema.h"
#include "fedlb/tensor_list.h"

namespace fedlb::mappers {

struct ExtrapolationOptions {
  double ratio = 1;
};

// T. Lin et al., "Extrapolation for Large-batch Training in Deep Learning",
// ICML 2020, in the form that looks ahead by the past gradient: the gradient is
// taken at y_t = x_t - ratio lr g_(t-1), and x_(t+1) = x_t - lr g_t. The
// weights of a run are the y, so that one gradient a step is enough, and
//   y_(t+1) = y_t - lr ((1 + ratio) g_t - ratio g_(t-1)),  g_(-1) = 0.
// The paper's workers each look ahead by a gradient of their own; here all do
// by the aggregate. Exact for sgd without momentum at a constant rate.
class Extrapolation final : public GradientMapper {
 public:
  using Options = ExtrapolationOptions;
  static constexpr char kName[] = "extrapolation";
  static constexpr char kSummary[] =
      "Takes gradients ahead of the weights, by the gradient before.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Extrapolation>> Create(
      const Options& options, const ComponentContext& context);

  absl::Status Prepare(const TensorLayout& layout) override {
    layout_ = layout;
    return absl::OkStatus();
  }
  // "norm_ratio": |mapped| / |gradient|.
  ScalarMap Report() const override { return {{"norm_ratio", last_ratio_}}; }
  int64_t StateBytes(const TensorLayout& layout) const override {
    return NumBytes(layout);
  }
  ComponentState SaveState() const override;
  absl::Status LoadState(const ComponentState& state) override;

 private:
  explicit Extrapolation(const Options& options) : options_(options) {}

  absl::Status DoMap(const StepContext& context, TensorList& gradient) override;

  const Options options_;
  TensorLayout layout_;
  TensorList previous_;  // empty before the first step
  double last_ratio_ = 1;
};

}  // namespace fedlb::mappers

#endif  // FEDLB_PLUGINS_MAPPERS_EXTRAPOLATION_H_
