#include "compression/qsgd.h"

namespace fedlb::compression {

ParamSchema<QsgdOptions> Qsgd::Schema() {
  return ParamSchema<Options>()
      .Add("levels", &Options::levels, "Levels s between 0 and the norm.",
           InClosed(1, 127))
      .Add("bucket", &Options::bucket,
           "Values that share a norm; a multiple of 4.",
           InClosed(4, kLargestBucket))
      .Add("error_feedback", &Options::error_feedback,
           "Whether a client adds to its next update what the encoding lost.")
      .Check(
          [](const Options& options) { return CheckBucket(options.bucket); });
}

absl::StatusOr<std::unique_ptr<Qsgd>> Qsgd::Create(
    const Options& options, const ComponentContext& context) {
  return std::unique_ptr<Qsgd>(new Qsgd(options, context.seed));
}

}  // namespace fedlb::compression
