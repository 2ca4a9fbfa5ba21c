#include "compression/signsgd.h"

#include <algorithm>
#include <cstddef>

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include "compression/sign_kernels.h"
#include "fedlb/status.h"

namespace fedlb::compression {
namespace {

template <typename Tensors>
int64_t BytesOf(const Tensors& tensors) {
  int64_t bytes = 0;
  for (const auto& tensor : tensors) {
    bytes += static_cast<int64_t>((tensor.values.size() + 7) / 8);
  }
  return bytes;
}

}  // namespace

ParamSchema<SignSgdOptions> SignSgd::Schema() {
  return ParamSchema<Options>().Add(
      "error_feedback", &Options::error_feedback,
      "Whether a client adds to its next update what the encoding lost.");
}

absl::StatusOr<std::unique_ptr<SignSgd>> SignSgd::Create(
    const Options& options, const ComponentContext& context) {
  return std::unique_ptr<SignSgd>(new SignSgd(options, context.seed));
}

// A scale per tensor, and the bits of all; every tensor begins at a byte.
absl::StatusOr<TensorList> SignSgd::Encode(const std::vector<Source>& tensors,
                                           const CodecKey& /*key*/,
                                           ComponentState& /*state*/) const {
  at::Tensor scales =
      at::empty({static_cast<int64_t>(tensors.size())}, at::kFloat);
  at::Tensor bits = at::empty({BytesOf(tensors)}, at::kByte);
  auto* scale = scales.mutable_data_ptr<float>();
  auto* byte = bits.mutable_data_ptr<uint8_t>();
  for (const Source& tensor : tensors) {
    const size_t count = tensor.values.size();
    const double sum = PackSigns(tensor.values, byte);
    *scale++ = static_cast<float>(
        sum / static_cast<double>(std::max<size_t>(count, 1)));
    byte += (count + 7) / 8;
  }
  return TensorList{scales, bits};
}

absl::Status SignSgd::Decode(const TensorList& encoded, const CodecKey& /*key*/,
                             const std::vector<Target>& tensors) const {
  FEDLB_RETURN_IF_ERROR(CheckCount(encoded, 2));
  FEDLB_RETURN_IF_ERROR(CheckVector(encoded[0], at::kFloat,
                                    static_cast<int64_t>(tensors.size())));
  FEDLB_RETURN_IF_ERROR(CheckVector(encoded[1], at::kByte, BytesOf(tensors)));
  const auto* scale = encoded[0].const_data_ptr<float>();
  const auto* byte = encoded[1].const_data_ptr<uint8_t>();
  for (const Target& tensor : tensors) {
    UnpackSigns(byte, *scale++, tensor.values);
    byte += (tensor.values.size() + 7) / 8;
  }
  return absl::OkStatus();
}

}  // namespace fedlb::compression
