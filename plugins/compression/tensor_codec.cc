#include "compression/tensor_codec.h"

#include <utility>

#include <ATen/ops/empty.h>

#include "absl/strings/str_cat.h"
#include "fedlb/status.h"

namespace fedlb::compression {
namespace {

Source SourceOf(const at::Tensor& tensor) {
  return {
      tensor.sizes().vec(),
      {tensor.const_data_ptr<float>(), static_cast<size_t>(tensor.numel())}};
}

Target TargetOf(at::Tensor& tensor) {
  return {
      tensor.sizes().vec(),
      {tensor.mutable_data_ptr<float>(), static_cast<size_t>(tensor.numel())}};
}

// As contiguous floats on the CPU; no copy where they are so already.
TensorList AsFloats(const TensorList& tensors) {
  TensorList floats;
  for (const at::Tensor& tensor : tensors) {
    floats.push_back(tensor.detach().to(at::kCPU, at::kFloat).contiguous());
  }
  return floats;
}

template <typename Tensors>
int64_t Count(const Tensors& tensors) {
  int64_t count = 0;
  for (const auto& tensor : tensors) {
    count += static_cast<int64_t>(tensor.values.size());
  }
  return count;
}

}  // namespace

absl::Status TensorCodec::Compress(Update& update,
                                   ComponentState& residual) const {
  TensorList values = AsFloats(update.parameters());
  if (error_feedback_) {
    const auto kept = residual.tensors.find(kResidual);
    if (kept == residual.tensors.end()) {
      values = Clone(values);
    } else {
      TensorList sums = Clone(kept->second);
      AddScaled(values, 1, sums);
      values = std::move(sums);
    }
  }
  std::vector<Source> sources;
  for (const at::Tensor& tensor : values) {
    sources.push_back(SourceOf(tensor));
  }
  const CodecKey key = KeyOf(update);
  FEDLB_ASSIGN_OR_RETURN(TensorList encoded, Encode(sources, key, residual));
  if (error_feedback_) {
    TensorList decoded;
    std::vector<Target> targets;
    for (const at::Tensor& tensor : values) {
      decoded.push_back(at::empty(tensor.sizes(), at::kFloat));
      targets.push_back(TargetOf(decoded.back()));
    }
    FEDLB_RETURN_IF_ERROR(Decode(encoded, key, targets));
    AddScaled(decoded, -1, values);
    residual.tensors[kResidual] = std::move(values);
  }
  update.groups.erase(kParametersGroup);
  update.groups[group_] = std::move(encoded);
  return absl::OkStatus();
}

absl::Status TensorCodec::Decompress(const TensorLayout& layout,
                                     Update& update) const {
  const auto encoded = update.groups.find(group_);
  if (encoded == update.groups.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the update has no group ", group_));
  }
  if (update.groups.contains(kParametersGroup)) {
    return absl::InvalidArgumentError(
        "the update has parameters beside their encoding");
  }
  TensorList decoded;
  std::vector<Target> targets;
  for (const TensorSpec& spec : layout) {
    decoded.push_back(at::empty(spec.sizes, at::kFloat));
    targets.push_back(TargetOf(decoded.back()));
  }
  FEDLB_RETURN_IF_ERROR(
      Annotate(Decode(encoded->second, KeyOf(update), targets), group_));
  for (size_t i = 0; i < layout.size(); ++i) {
    decoded[i] = decoded[i].to(layout[i].dtype);
  }
  update.groups.erase(encoded);
  update.groups[kParametersGroup] = std::move(decoded);
  return absl::OkStatus();
}

int64_t TensorCodec::BytesPerClient(const TensorLayout& layout) const {
  int64_t bytes = 0;
  for (const TensorSpec& spec : layout) {
    bytes += error_feedback_ ? spec.numel() * int64_t{sizeof(float)} : 0;
  }
  return bytes;
}

absl::Status CheckCount(const TensorList& encoded, size_t count) {
  return encoded.size() == count
             ? absl::OkStatus()
             : absl::InvalidArgumentError(absl::StrCat(
                   encoded.size(), " encoded tensors, must be ", count));
}

int64_t CountOf(const std::vector<Source>& tensors) { return Count(tensors); }
int64_t CountOf(const std::vector<Target>& tensors) { return Count(tensors); }

absl::Status CheckVector(const at::Tensor& tensor, at::ScalarType dtype,
                         int64_t count) {
  if (!tensor.defined() || !tensor.is_cpu() || !tensor.is_contiguous() ||
      tensor.scalar_type() != dtype || tensor.dim() != 1 ||
      tensor.size(0) != count) {
    return absl::InvalidArgumentError(absl::StrCat("an encoded tensor is not ",
                                                   count, " values of type ",
                                                   at::toString(dtype)));
  }
  return absl::OkStatus();
}

}  // namespace fedlb::compression
