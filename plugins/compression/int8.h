// Bytes instead of floats.

#ifndef FEDLB_PLUGINS_COMPRESSION_INT8_H_
#define FEDLB_PLUGINS_COMPRESSION_INT8_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "compression/quantization.h"
#include "compression/quantizing_codec.h"
#include "fedlb/param_schema.h"

namespace fedlb::compression {

struct Int8Options {
  int64_t bucket = 1024;
  Rounding rounding = Rounding::kNearest;
  bool error_feedback = false;
};

// The largest magnitude of a bucket is 127, and the rest is in proportion. To
// the nearest is the smaller error; at random is unbiased.
class Int8 final : public QuantizingCodec {
 public:
  using Options = Int8Options;
  static constexpr char kName[] = "int8";
  static constexpr char kSummary[] =
      "Rounds values to a byte each, on the scale of the largest of their "
      "bucket.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Int8>> Create(
      const Options& options, const ComponentContext& context);

 private:
  Int8(const Options& options, uint64_t seed)
      : QuantizingCodec(kName, options.error_feedback, seed,
                        {.scale = Quantization::Scale::kLargest,
                         .rounding = options.rounding,
                         .levels = 127,
                         .bucket = options.bucket}) {}
};

}  // namespace fedlb::compression

#endif  // FEDLB_PLUGINS_COMPRESSION_INT8_H_
