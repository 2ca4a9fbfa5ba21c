// Random rounding to few levels of a norm.

#ifndef FEDLB_PLUGINS_COMPRESSION_QSGD_H_
#define FEDLB_PLUGINS_COMPRESSION_QSGD_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "compression/quantization.h"
#include "compression/quantizing_codec.h"
#include "fedlb/param_schema.h"

namespace fedlb::compression {

struct QsgdOptions {
  int64_t levels = 127;
  int64_t bucket = 128;
  bool error_feedback = false;
};

// D. Alistarh et al., "QSGD: Communication-Efficient SGD via Gradient
// Quantization and Encoding", NeurIPS 2017, section 3.1, with codes of a fixed
// length: 2 bits for one level, 4 up to 7, 8 up to 127. A bucket of zeros stays
// one.
class Qsgd final : public QuantizingCodec {
 public:
  using Options = QsgdOptions;
  static constexpr char kName[] = "qsgd";
  static constexpr char kSummary[] =
      "Rounds values at random to levels of the norm of their bucket; "
      "unbiased.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Qsgd>> Create(
      const Options& options, const ComponentContext& context);

 private:
  Qsgd(const Options& options, uint64_t seed)
      : QuantizingCodec(kName, options.error_feedback, seed,
                        {.scale = Quantization::Scale::kNorm,
                         .rounding = Rounding::kStochastic,
                         .levels = options.levels,
                         .bucket = options.bucket}) {}
};

}  // namespace fedlb::compression

#endif  // FEDLB_PLUGINS_COMPRESSION_QSGD_H_
