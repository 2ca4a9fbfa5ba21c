#include "batch/constant.h"

namespace fedlb::batch {

ParamSchema<ConstantOptions> Constant::Schema() {
  return ParamSchema<Options>().Add("batch_size", &Options::batch_size,
                                    "Examples per local step of each client.",
                                    AtLeast(1));
}

absl::StatusOr<std::unique_ptr<Constant>> Constant::Create(
    const Options& options, const ComponentContext& /*context*/) {
  return std::unique_ptr<Constant>(new Constant(options.batch_size));
}

absl::StatusOr<int64_t> Constant::DoBatchSize(int64_t /*round*/,
                                              int64_t /*client*/) {
  return batch_size_;
}

}  // namespace fedlb::batch
