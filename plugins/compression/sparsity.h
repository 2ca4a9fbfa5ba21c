// How many values a sparse codec keeps.

#ifndef FEDLB_PLUGINS_COMPRESSION_SPARSITY_H_
#define FEDLB_PLUGINS_COMPRESSION_SPARSITY_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace fedlb::compression {

// max(1, floor(ratio d)) of d values, none of none.
inline int64_t KeptOf(double ratio, size_t count) {
  const auto size = static_cast<int64_t>(count);
  // A ratio of 0.29 means 29 of 100, whatever 0.29 * 100 is in binary.
  const auto share =
      static_cast<int64_t>(ratio * static_cast<double>(size) * (1 + 1e-12));
  return std::min(size, std::max<int64_t>(1, share));
}

// The same of all tensors together, which have `values`.
template <typename Tensors>
int64_t KeptOf(double ratio, const Tensors& tensors) {
  int64_t kept = 0;
  for (const auto& tensor : tensors) {
    kept += KeptOf(ratio, tensor.values.size());
  }
  return kept;
}

}  // namespace fedlb::compression

#endif  // FEDLB_PLUGINS_COMPRESSION_SPARSITY_H_
