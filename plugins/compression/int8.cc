#include "compression/int8.h"

namespace fedlb::compression {

ParamSchema<Int8Options> Int8::Schema() {
  return ParamSchema<Options>()
      .Add("bucket", &Options::bucket,
           "Values that share a scale; a multiple of 4.", AtLeast(4))
      .AddChoice("rounding", &Options::rounding,
                 {{"nearest", Rounding::kNearest},
                  {"stochastic", Rounding::kStochastic}},
                 "To the nearest code, or up or down at random so that the "
                 "mean is right.")
      .Add("error_feedback", &Options::error_feedback,
           "Whether a client adds to its next update what the encoding lost.");
}

absl::StatusOr<std::unique_ptr<Int8>> Int8::Create(
    const Options& options, const ComponentContext& context) {
  return std::unique_ptr<Int8>(new Int8(options, context.seed));
}

Quantization Int8::quantization() const {
  return {.scale = Quantization::Scale::kLargest,
          .rounding = options_.rounding,
          .levels = 127,
          .bucket = options_.bucket};
}

absl::StatusOr<TensorList> Int8::Encode(const std::vector<Source>& tensors,
                                        const CodecKey& key,
                                        ComponentState& /*state*/) const {
  return Quantize(quantization(), key, tensors);
}

absl::Status Int8::Decode(const TensorList& encoded, const CodecKey& /*key*/,
                          const std::vector<Target>& tensors) const {
  return Dequantize(quantization(), encoded, tensors);
}

}  // namespace fedlb::compression
