// Minus one, zero or one.

#ifndef FEDLB_PLUGINS_COMPRESSION_TERNGRAD_H_
#define FEDLB_PLUGINS_COMPRESSION_TERNGRAD_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "compression/quantization.h"
#include "compression/quantizing_codec.h"
#include "fedlb/param_schema.h"

namespace fedlb::compression {

struct TernGradOptions {
  double clip = 2.5;
  bool error_feedback = false;
};

// W. Wen et al., "TernGrad: Ternary Gradients to Reduce Communication in
// Distributed Deep Learning", NeurIPS 2017: each tensor is clipped at `clip`
// standard deviations, s is the largest magnitude that is left, and a value v
// becomes sign(v) s with probability |v| / s. Unbiased but for the clipping.
class TernGrad final : public QuantizingCodec {
 public:
  using Options = TernGradOptions;
  static constexpr char kName[] = "terngrad";
  static constexpr char kSummary[] =
      "Rounds values at random to -s, 0 or s for each tensor.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<TernGrad>> Create(
      const Options& options, const ComponentContext& context);

 private:
  TernGrad(const Options& options, uint64_t seed)
      : QuantizingCodec(kName, options.error_feedback, seed,
                        {.scale = Quantization::Scale::kClippedLargest,
                         .rounding = Rounding::kStochastic,
                         .levels = 1,
                         .bucket = 0,
                         .clip = options.clip}) {}
};

}  // namespace fedlb::compression

#endif  // FEDLB_PLUGINS_COMPRESSION_TERNGRAD_H_
