#include "compression/topk.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>

#include <ATen/ops/empty.h>

#include "absl/strings/str_cat.h"
#include "compression/select_largest.h"
#include "compression/sparsity.h"
#include "fedlb/status.h"

namespace fedlb::compression {

ParamSchema<TopKOptions> TopK::Schema() {
  return ParamSchema<Options>()
      .Add("ratio", &Options::ratio,
           "Share of each tensor's values that is sent.", InLeftOpen(0, 1))
      .Add("error_feedback", &Options::error_feedback,
           "Whether a client adds to its next update what it did not send.");
}

absl::StatusOr<std::unique_ptr<TopK>> TopK::Create(
    const Options& options, const ComponentContext& context) {
  return std::unique_ptr<TopK>(new TopK(options, context.seed));
}

// Values, and their indices among those of all tensors.
absl::StatusOr<TensorList> TopK::Encode(const std::vector<Source>& tensors,
                                        const CodecKey& /*key*/,
                                        ComponentState& /*state*/) const {
  if (CountOf(tensors) > std::numeric_limits<int32_t>::max()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "topk: ", CountOf(tensors), " parameters, more than 2^31"));
  }
  const int64_t kept = KeptOf(options_.ratio, tensors);
  at::Tensor values = at::empty({kept}, at::kFloat);
  at::Tensor indices = at::empty({kept}, at::kInt);
  auto* value = values.mutable_data_ptr<float>();
  auto* index = indices.mutable_data_ptr<int32_t>();
  int32_t begin = 0;
  std::vector<int32_t> largest;
  for (const Source& tensor : tensors) {
    largest.clear();
    SelectLargest(tensor.values, KeptOf(options_.ratio, tensor.values.size()),
                  largest);
    for (const int32_t i : largest) {
      *value++ = tensor.values[static_cast<size_t>(i)];
      *index++ = begin + i;
    }
    begin += static_cast<int32_t>(tensor.values.size());
  }
  return TensorList{values, indices};
}

absl::Status TopK::Decode(const TensorList& encoded, const CodecKey& /*key*/,
                          const std::vector<Target>& tensors) const {
  const int64_t kept = KeptOf(options_.ratio, tensors);
  FEDLB_RETURN_IF_ERROR(CheckCount(encoded, 2));
  FEDLB_RETURN_IF_ERROR(CheckVector(encoded[0], at::kFloat, kept));
  FEDLB_RETURN_IF_ERROR(CheckVector(encoded[1], at::kInt, kept));
  const auto* value = encoded[0].const_data_ptr<float>();
  const auto* index = encoded[1].const_data_ptr<int32_t>();
  int64_t begin = 0;
  for (const Target& tensor : tensors) {
    std::fill(tensor.values.begin(), tensor.values.end(), 0.0F);
    const auto size = static_cast<int64_t>(tensor.values.size());
    const int64_t kept_here = KeptOf(options_.ratio, tensor.values.size());
    int64_t before = -1;
    for (int64_t i = 0; i < kept_here; ++i) {
      const int64_t place = *index++ - begin;
      if (place <= before || place >= size) {
        return absl::InvalidArgumentError(
            absl::StrCat("index ", place, " after ", before, " in a tensor of ",
                         size, " values"));
      }
      before = place;
      tensor.values[static_cast<size_t>(place)] = *value++;
    }
    begin += size;
  }
  return absl::OkStatus();
}

}  // namespace fedlb::compression
