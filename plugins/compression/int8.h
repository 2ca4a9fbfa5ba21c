// Bytes instead of floats.

#ifndef FEDLB_PLUGINS_COMPRESSION_INT8_H_
#define FEDLB_PLUGINS_COMPRESSION_INT8_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "compression/quantization.h"
#include "compression/tensor_codec.h"
#include "fedlb/param_schema.h"

namespace fedlb::compression {

struct Int8Options {
  int64_t bucket = 1024;
  Rounding rounding = Rounding::kNearest;
  bool error_feedback = false;
};

// The largest magnitude of a bucket is 127, and the rest is in proportion. To
// the nearest is the smaller error; at random is unbiased.
class Int8 final : public TensorCodec {
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
      : TensorCodec(kName, options.error_feedback, seed), options_(options) {}

  absl::StatusOr<TensorList> Encode(const std::vector<Source>& tensors,
                                    const CodecKey& key,
                                    ComponentState& state) const override;
  absl::Status Decode(const TensorList& encoded, const CodecKey& key,
                      const std::vector<Target>& tensors) const override;

  Quantization quantization() const;

  const Options options_;
};

}  // namespace fedlb::compression

#endif  // FEDLB_PLUGINS_COMPRESSION_INT8_H_
