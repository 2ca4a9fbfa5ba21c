#include "compression/none.h"

#include "fedlb/tensor_list.h"

namespace fedlb::compression {

ParamSchema<NoneOptions> None::Schema() { return ParamSchema<Options>(); }

absl::StatusOr<std::unique_ptr<None>> None::Create(
    const Options& /*options*/, const ComponentContext& /*context*/) {
  return std::make_unique<None>();
}

absl::Status None::Compress(Update& /*update*/,
                            ComponentState& /*residual*/) const {
  return absl::OkStatus();
}

absl::Status None::Decompress(const TensorLayout& layout,
                              Update& update) const {
  const auto found = update.groups.find(kParametersGroup);
  if (found == update.groups.end()) {
    return absl::InvalidArgumentError(
        "compressor none: the update has no group of parameters");
  }
  return CheckLayout(layout, found->second);
}

int64_t None::BytesPerClient(const TensorLayout& /*layout*/) const { return 0; }

}  // namespace fedlb::compression
