#include "compression/terngrad.h"

namespace fedlb::compression {

ParamSchema<TernGradOptions> TernGrad::Schema() {
  return ParamSchema<Options>()
      .Add("clip", &Options::clip,
           "Standard deviations beyond which values are cut off.",
           GreaterThan(0))
      .Add("error_feedback", &Options::error_feedback,
           "Whether a client adds to its next update what the encoding lost.");
}

absl::StatusOr<std::unique_ptr<TernGrad>> TernGrad::Create(
    const Options& options, const ComponentContext& context) {
  return std::unique_ptr<TernGrad>(new TernGrad(options, context.seed));
}

}  // namespace fedlb::compression
