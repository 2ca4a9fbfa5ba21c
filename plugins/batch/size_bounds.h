// The bounds of batch policies whose sizes move.

#ifndef FEDLB_BATCH_SIZE_BOUNDS_H_
#define FEDLB_BATCH_SIZE_BOUNDS_H_

#include "absl/status/status.h"

namespace fedlb::batch {

inline constexpr char kMinBatchSizeHelp[] = "The smallest.";
inline constexpr char kMaxBatchSizeHelp[] =
    "The largest: what memory allows, as `fedlb profile` tells.";

// For ParamSchema::Check.
template <typename Options>
absl::Status CheckSizeBounds(const Options& options) {
  return options.min_batch_size <= options.batch_size &&
                 options.batch_size <= options.max_batch_size
             ? absl::OkStatus()
             : absl::InvalidArgumentError(
                   "batch_size must lie between min_batch_size and "
                   "max_batch_size");
}

}  // namespace fedlb::batch

#endif  // FEDLB_BATCH_SIZE_BOUNDS_H_
