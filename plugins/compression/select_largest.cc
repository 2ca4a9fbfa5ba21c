#include "compression/select_largest.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <functional>

#include "compression/target_clones.h"

namespace fedlb::compression {
namespace {

// Without the sign, the bits of floats are in the order of their magnitudes.
constexpr uint32_t kMagnitude = 0x7fffffff;
// Buckets by exponent and the first bits of the mantissa.
constexpr int kShift = 19;
constexpr size_t kBuckets = size_t{kMagnitude >> kShift} + 1;
// Tables that are counted in by turns: equal buckets follow each other often,
// and an addition would have to wait for the one before.
constexpr size_t kTables = 4;
constexpr size_t kBlock = 64;

uint32_t MagnitudeOf(float value) {
  return std::bit_cast<uint32_t>(value) & kMagnitude;
}

// Of each bucket the number of values.
std::vector<int64_t> CountBuckets(absl::Span<const float> values) {
  std::vector<std::array<uint32_t, kTables>> counts(kBuckets);
  for (size_t i = 0; i < values.size(); ++i) {
    ++counts[MagnitudeOf(values[i]) >> kShift][i % kTables];
  }
  std::vector<int64_t> sums(kBuckets);
  for (size_t b = 0; b < kBuckets; ++b) {
    for (const uint32_t count : counts[b]) {
      sums[b] += count;
    }
  }
  return sums;
}

// Whether any of kBlock values reaches `least`.
FEDLB_CLONES bool AnyReaches(const float* values, uint32_t least) {
  uint32_t largest = 0;
  for (size_t i = 0; i < kBlock; ++i) {
    const uint32_t magnitude = std::bit_cast<uint32_t>(values[i]) & kMagnitude;
    largest = largest > magnitude ? largest : magnitude;
  }
  return largest >= least;
}

}  // namespace

void SelectLargest(absl::Span<const float> values, int64_t count,
                   std::vector<int32_t>& indices) {
  if (count <= 0) {
    return;
  }
  // The bucket in which the last value to be taken lies, and how many of it.
  const std::vector<int64_t> sizes = CountBuckets(values);
  size_t bucket = kBuckets - 1;
  int64_t wanted = count;
  while (sizes[bucket] < wanted) {
    wanted -= sizes[bucket];
    --bucket;
  }
  const auto least = static_cast<uint32_t>(bucket << kShift);
  const uint32_t above = bucket + 1 < kBuckets
                             ? static_cast<uint32_t>((bucket + 1) << kShift)
                             : kMagnitude + 1;

  // Everything from the bucket on, in order.
  std::vector<int32_t> candidates;
  candidates.reserve(static_cast<size_t>(count - wanted + sizes[bucket]));
  std::vector<uint32_t> magnitudes;  // of those in the bucket
  magnitudes.reserve(static_cast<size_t>(sizes[bucket]));
  const auto look = [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      const uint32_t magnitude = MagnitudeOf(values[i]);
      if (magnitude >= least) {
        candidates.push_back(static_cast<int32_t>(i));
        if (magnitude < above) {
          magnitudes.push_back(magnitude);
        }
      }
    }
  };
  size_t begin = 0;
  for (; begin + kBlock <= values.size(); begin += kBlock) {
    if (AnyReaches(values.data() + begin, least)) {
      look(begin, begin + kBlock);
    }
  }
  look(begin, values.size());

  // The magnitude of the last one taken, and how many of the same are taken.
  const auto last = magnitudes.begin() + (wanted - 1);
  std::nth_element(magnitudes.begin(), last, magnitudes.end(),
                   std::greater<uint32_t>());
  const uint32_t threshold = *last;
  int64_t ties =
      wanted - std::count_if(magnitudes.begin(), last,
                             [&](uint32_t m) { return m > threshold; });
  for (const int32_t index : candidates) {
    const uint32_t magnitude = MagnitudeOf(values[static_cast<size_t>(index)]);
    if (magnitude > threshold || (magnitude == threshold && ties-- > 0)) {
      indices.push_back(index);
    }
  }
}

}  // namespace fedlb::compression
