#include "compression/randomk.h"

#include <algorithm>
#include <cstddef>

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include "compression/sparsity.h"
#include "fedlb/random.h"
#include "fedlb/status.h"

namespace fedlb::compression {

ParamSchema<RandomKOptions> RandomK::Schema() {
  return ParamSchema<Options>()
      .Add("ratio", &Options::ratio,
           "Share of each tensor's values that is sent.", InLeftOpen(0, 1))
      .Add("unbiased", &Options::unbiased,
           "Multiply what is sent by d / k, so that its mean is the update, "
           "instead of remembering what was not sent.");
}

absl::StatusOr<std::unique_ptr<RandomK>> RandomK::Create(
    const Options& options, const ComponentContext& context) {
  return std::unique_ptr<RandomK>(new RandomK(options, context.seed));
}

std::vector<int64_t> RandomK::Places(const CodecKey& key, size_t index,
                                     size_t count) const {
  RandomStream random({key.seed, "randomk", key.round, key.client,
                       static_cast<int64_t>(index)});
  return random.SampleWithoutReplacement(static_cast<int64_t>(count),
                                         KeptOf(options_.ratio, count));
}

absl::StatusOr<TensorList> RandomK::Encode(const std::vector<Source>& tensors,
                                           const CodecKey& key,
                                           ComponentState& /*state*/) const {
  at::Tensor values = at::empty({KeptOf(options_.ratio, tensors)}, at::kFloat);
  auto* value = values.mutable_data_ptr<float>();
  for (size_t i = 0; i < tensors.size(); ++i) {
    for (const int64_t place : Places(key, i, tensors[i].values.size())) {
      *value++ = tensors[i].values[static_cast<size_t>(place)];
    }
  }
  return TensorList{values};
}

absl::Status RandomK::Decode(const TensorList& encoded, const CodecKey& key,
                             const std::vector<Target>& tensors) const {
  FEDLB_RETURN_IF_ERROR(CheckCount(encoded, 1));
  FEDLB_RETURN_IF_ERROR(
      CheckVector(encoded[0], at::kFloat, KeptOf(options_.ratio, tensors)));
  const auto* value = encoded[0].const_data_ptr<float>();
  for (size_t i = 0; i < tensors.size(); ++i) {
    const absl::Span<float> out = tensors[i].values;
    std::fill(out.begin(), out.end(), 0.0F);
    const std::vector<int64_t> places = Places(key, i, out.size());
    const float factor =
        options_.unbiased && !places.empty()
            ? static_cast<float>(out.size()) / static_cast<float>(places.size())
            : 1.0F;
    for (const int64_t place : places) {
      out[static_cast<size_t>(place)] = factor * *value++;
    }
  }
  return absl::OkStatus();
}

}  // namespace fedlb::compression
