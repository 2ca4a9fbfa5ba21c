#include "compression/int8.h"

namespace fedlb::compression {

ParamSchema<Int8Options> Int8::Schema() {
  return ParamSchema<Options>()
      .Add("bucket", &Options::bucket,
           "Values that share a scale; a multiple of 4.",
           InClosed(4, kLargestBucket))
      .AddChoice("rounding", &Options::rounding,
                 {{"nearest", Rounding::kNearest},
                  {"stochastic", Rounding::kStochastic}},
                 "To the nearest code, or up or down at random so that the "
                 "mean is right.")
      .Add("error_feedback", &Options::error_feedback,
           "Whether a client adds to its next update what the encoding lost.")
      .Check(
          [](const Options& options) { return CheckBucket(options.bucket); });
}

absl::StatusOr<std::unique_ptr<Int8>> Int8::Create(
    const Options& options, const ComponentContext& context) {
  return std::unique_ptr<Int8>(new Int8(options, context.seed));
}

}  // namespace fedlb::compression
