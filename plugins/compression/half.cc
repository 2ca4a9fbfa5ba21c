#include "compression/half.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include "fedlb/status.h"

namespace fedlb::compression {

ParamSchema<HalfOptions> Half::Schema() {
  return ParamSchema<Options>()
      .AddChoice("format", &Options::format,
                 {{"bf16", HalfFormat::kBf16}, {"fp16", HalfFormat::kFp16}},
                 "Of 16 bits: bfloat16, or half precision as in IEEE 754.")
      .Add("error_feedback", &Options::error_feedback,
           "Whether a client adds to its next update what the encoding lost.");
}

absl::StatusOr<std::unique_ptr<Half>> Half::Create(
    const Options& options, const ComponentContext& context) {
  return std::unique_ptr<Half>(new Half(options, context.seed));
}

absl::StatusOr<TensorList> Half::Encode(const std::vector<Source>& tensors,
                                        const CodecKey& /*key*/,
                                        ComponentState& /*state*/) const {
  const bool fp16 = options_.format == HalfFormat::kFp16;
  at::Tensor row =
      at::empty({CountOf(tensors)}, fp16 ? at::kHalf : at::kBFloat16);
  int64_t begin = 0;
  for (const Source& tensor : tensors) {
    const auto count = static_cast<int64_t>(tensor.values.size());
    at::Tensor values =
        at::from_blob(const_cast<float*>(tensor.values.data()), {count});
    if (fp16) {
      constexpr double kLargest = 65504;
      values = values.clamp(-kLargest, kLargest);
    }
    row.narrow(0, begin, count).copy_(values);
    begin += count;
  }
  return TensorList{row};
}

absl::Status Half::Decode(const TensorList& encoded, const CodecKey& /*key*/,
                          const std::vector<Target>& tensors) const {
  FEDLB_RETURN_IF_ERROR(CheckCount(encoded, 1));
  FEDLB_RETURN_IF_ERROR(CheckVector(
      encoded[0],
      options_.format == HalfFormat::kFp16 ? at::kHalf : at::kBFloat16,
      CountOf(tensors)));
  int64_t begin = 0;
  for (const Target& tensor : tensors) {
    const auto count = static_cast<int64_t>(tensor.values.size());
    at::from_blob(tensor.values.data(), {count})
        .copy_(encoded[0].narrow(0, begin, count));
    begin += count;
  }
  return absl::OkStatus();
}

}  // namespace fedlb::compression
