// The values of largest magnitude among many.

#ifndef FEDLB_PLUGINS_COMPRESSION_SELECT_LARGEST_H_
#define FEDLB_PLUGINS_COMPRESSION_SELECT_LARGEST_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace fedlb::compression {

// Appends the indices of the `count` values of largest magnitude in rising
// order; of equals the first ones. 0 <= count <= values.size(), fewer than 2^31
// values. NaN counts as larger than all. Two passes over the values and no copy
// of them.
void SelectLargest(absl::Span<const float> values, int64_t count,
                   std::vector<int32_t>& indices);

}  // namespace fedlb::compression

#endif  // FEDLB_PLUGINS_COMPRESSION_SELECT_LARGEST_H_
