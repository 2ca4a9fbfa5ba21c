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

Quantization TernGrad::quantization() const {
  return {.scale = Quantization::Scale::kClippedLargest,
          .rounding = Rounding::kStochastic,
          .levels = 1,
          .bucket = 0,
          .clip = options_.clip};
}

absl::StatusOr<TensorList> TernGrad::Encode(const std::vector<Source>& tensors,
                                            const CodecKey& key,
                                            ComponentState& /*state*/) const {
  return Quantize(quantization(), key, tensors);
}

absl::Status TernGrad::Decode(const TensorList& encoded,
                              const CodecKey& /*key*/,
                              const std::vector<Target>& tensors) const {
  return Dequantize(quantization(), encoded, tensors);
}

}  // namespace fedlb::compression
