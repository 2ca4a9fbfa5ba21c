// The examples of each class in random order, to be dealt out class by class.

#ifndef FEDLB_PARTITION_CLASS_POOLS_H_
#define FEDLB_PARTITION_CLASS_POOLS_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "fedlb/partitioner.h"
#include "fedlb/random.h"

namespace fedlb::partition {

// Element c holds those of `indices` whose label is c, shuffled.
inline std::vector<std::vector<int64_t>> ShuffledClassPools(
    absl::Span<const int64_t> indices, absl::Span<const int64_t> labels,
    int64_t num_classes, RandomStream& stream) {
  std::vector<std::vector<int64_t>> pools(static_cast<size_t>(num_classes));
  for (const int64_t index : indices) {
    const int64_t label = labels[static_cast<size_t>(index)];
    pools[static_cast<size_t>(label)].push_back(index);
  }
  for (std::vector<int64_t>& pool : pools) {
    stream.Shuffle(absl::MakeSpan(pool));
  }
  return pools;
}

// Puts every share in random order: dealt class by class, its first examples
// would all be of one class.
inline void ShuffleShares(Partition& partition, RandomStream& stream) {
  for (std::vector<int64_t>& share : partition) {
    stream.Shuffle(absl::MakeSpan(share));
  }
}

}  // namespace fedlb::partition

#endif  // FEDLB_PARTITION_CLASS_POOLS_H_
