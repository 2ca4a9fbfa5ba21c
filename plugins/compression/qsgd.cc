#include "compression/qsgd.h"

namespace fedlb::compression {

ParamSchema<QsgdOptions> Qsgd::Schema() {
  return ParamSchema<Options>()
      .Add("levels", &Options::levels, "Levels s between 0 and the norm.",
           InClosed(1, 127))
      .Add("bucket", &Options::bucket,
           "Values that share a norm; a multiple of 4.", AtLeast(4))
      .Add("error_feedback", &Options::error_feedback,
           "Whether a client adds to its next update what the encoding lost.");
}

absl::StatusOr<std::unique_ptr<Qsgd>> Qsgd::Create(
    const Options& options, const ComponentContext& context) {
  return std::unique_ptr<Qsgd>(new Qsgd(options, context.seed));
}

Quantization Qsgd::quantization() const {
  return {.scale = Quantization::Scale::kNorm,
          .rounding = Rounding::kStochastic,
          .levels = options_.levels,
          .bucket = options_.bucket};
}

absl::StatusOr<TensorList> Qsgd::Encode(const std::vector<Source>& tensors,
                                        const CodecKey& key,
                                        ComponentState& /*state*/) const {
  return Quantize(quantization(), key, tensors);
}

absl::Status Qsgd::Decode(const TensorList& encoded, const CodecKey& /*key*/,
                          const std::vector<Target>& tensors) const {
  return Dequantize(quantization(), encoded, tensors);
}

}  // namespace fedlb::compression
