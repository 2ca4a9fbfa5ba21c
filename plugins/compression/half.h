// Sixteen bits instead of thirty-two.

#ifndef FEDLB_PLUGINS_COMPRESSION_HALF_H_
#define FEDLB_PLUGINS_COMPRESSION_HALF_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "compression/tensor_codec.h"
#include "fedlb/param_schema.h"

namespace fedlb::compression {

enum class HalfFormat { kBf16, kFp16 };

struct HalfOptions {
  HalfFormat format = HalfFormat::kBf16;
  bool error_feedback = false;
};

// Rounded to the nearest. bfloat16 has the range of floats; what is too large
// for fp16 becomes its largest number.
class Half final : public TensorCodec {
 public:
  using Options = HalfOptions;
  static constexpr char kName[] = "half";
  static constexpr char kSummary[] =
      "Sends values as bfloat16 or IEEE half precision.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Half>> Create(
      const Options& options, const ComponentContext& context);

 private:
  Half(const Options& options, uint64_t seed)
      : TensorCodec(kName, options.error_feedback, seed), options_(options) {}

  absl::StatusOr<TensorList> Encode(const std::vector<Source>& tensors,
                                    const CodecKey& key,
                                    ComponentState& state) const override;
  absl::Status Decode(const TensorList& encoded, const CodecKey& key,
                      const std::vector<Target>& tensors) const override;

  const Options options_;
};

}  // namespace fedlb::compression

#endif  // FEDLB_PLUGINS_COMPRESSION_HALF_H_
