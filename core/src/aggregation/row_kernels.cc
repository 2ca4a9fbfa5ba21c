#include "aggregation/row_kernels.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <type_traits>
#include <utility>

namespace fedlb {
namespace {

// Columns that are summed at a time.
constexpr int64_t kBlock = 1024;

const RowLoopSet& BestLoops() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) {
    return kRowLoopsAvx512;
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    return kRowLoopsAvx2;
  }
#endif
  return kRowLoopsBaseline;
}

template <typename T>
const RowLoops<T>& Loops() {
  static const RowLoopSet& best = BestLoops();
  if constexpr (std::is_same_v<T, float>) {
    return best.of_floats;
  } else {
    return best.of_doubles;
  }
}

// The mean of sorted values [first, last) in each of kSortedColumns columns.
template <typename T>
void MeanOfRange(const T* sorted, int64_t first, int64_t last, T* out) {
  std::array<double, kSortedColumns> sums{};
  for (int64_t k = first; k < last; ++k) {
    Loops<T>().add(sorted + k * kSortedColumns, 1, kSortedColumns, sums.data());
  }
  const auto count = static_cast<double>(last - first);
  for (size_t c = 0; c < kSortedColumns; ++c) {
    out[c] = static_cast<T>(sums[c] / count);
  }
}

// The mean of the `keep` of `count` sorted values that are nearest to the
// median.
template <typename T>
void MeanNearMedian(const T* sorted, int64_t count, int64_t keep, T* out) {
  for (int64_t c = 0; c < kSortedColumns; ++c) {
    const auto at = [sorted, c](int64_t k) {
      return static_cast<double>(sorted[k * kSortedColumns + c]);
    };
    const double median = (at((count - 1) / 2) + at(count / 2)) / 2;
    // The nearest values stand together: move on while the value that comes in
    // is nearer than the one that goes out.
    int64_t first = 0;
    while (first + keep < count &&
           at(first + keep) - median < median - at(first)) {
      ++first;
    }
    double sum = 0;
    for (int64_t k = first; k < first + keep; ++k) {
      sum += at(k);
    }
    out[c] = static_cast<T>(sum / static_cast<double>(keep));
  }
}

template <typename T>
void WeightedSum(const RowCombination& combination,
                 const std::vector<const T*>& rows, int64_t columns, T* out) {
  for (int64_t begin = 0; begin < columns; begin += kBlock) {
    const int64_t size = std::min(kBlock, columns - begin);
    std::array<double, kBlock> sums{};
    const size_t count = combination.rows.size();
    std::array<const T*, 4> four;
    size_t i = 0;
    for (; i + four.size() <= count; i += four.size()) {
      for (size_t k = 0; k < four.size(); ++k) {
        four[k] = rows[combination.rows[i + k]] + begin;
      }
      Loops<T>().add_four(four.data(), &combination.weights[i], size,
                          sums.data());
    }
    for (; i < count; ++i) {
      Loops<T>().add(rows[combination.rows[i]] + begin, combination.weights[i],
                     size, sums.data());
    }
    for (int64_t c = 0; c < size; ++c) {
      out[begin + c] =
          static_cast<T>(sums[static_cast<size_t>(c)] / combination.divisor);
    }
  }
}

}  // namespace

template <typename T>
void AddWeightedRow(const T* row, double weight, int64_t columns,
                    double* sums) {
  Loops<T>().add(row, weight, columns, sums);
}

template <typename T>
RowProducts ProductsOf(const T* row, const T* other, int64_t columns) {
  return Loops<T>().products(row, other, columns);
}

template <typename T>
double RowSquaredDistance(const T* a, const T* b, int64_t columns) {
  return Loops<T>().squared_distance(a, b, columns);
}

RowCombiner::RowCombiner(RowCombination combination)
    : combination_(std::move(combination)),
      network_(
          MakeNetwork(combination_.kind == RowCombination::Kind::kWeightedSum
                          ? 0
                          : static_cast<int64_t>(combination_.rows.size()))) {}

// D. E. Knuth, "The Art of Computer Programming", vol. 3, Algorithm 5.2.2M
// (Batcher's merge exchange).
SortingNetwork RowCombiner::MakeNetwork(int64_t count) {
  SortingNetwork network;
  if (count < 2) {
    return network;
  }
  const auto top =
      static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(count)) / 2);
  for (int64_t p = top; p > 0; p /= 2) {
    int64_t q = top;
    int64_t r = 0;
    int64_t d = p;
    while (true) {
      for (int64_t i = 0; i < count - d; ++i) {
        if ((i & p) == r) {
          network.emplace_back(i, i + d);
        }
      }
      if (q == p) {
        break;
      }
      d = q - p;
      q /= 2;
      r = p;
    }
  }
  return network;
}

template <typename T>
void RowCombiner::Combine(const std::vector<const T*>& rows, int64_t columns,
                          T* out) const {
  if (combination_.kind == RowCombination::Kind::kWeightedSum) {
    WeightedSum(combination_, rows, columns, out);
  } else {
    CombineSorted(rows, columns, out);
  }
}

template <typename T>
void RowCombiner::CombineSorted(const std::vector<const T*>& rows,
                                int64_t columns, T* out) const {
  const auto count = static_cast<int64_t>(combination_.rows.size());
  std::vector<T> block(static_cast<size_t>(count * kSortedColumns));
  std::array<T, kSortedColumns> reduced;
  for (int64_t begin = 0; begin < columns; begin += kSortedColumns) {
    const int64_t size = std::min(kSortedColumns, columns - begin);
    T* target = block.data();
    for (const size_t index : combination_.rows) {
      std::copy_n(rows[index] + begin, size, target);
      target += kSortedColumns;
    }
    Loops<T>().sort(network_, block.data());
    if (combination_.kind == RowCombination::Kind::kTrimmedMean) {
      MeanOfRange(block.data(), combination_.count, count - combination_.count,
                  reduced.data());
    } else {
      MeanNearMedian(block.data(), count, combination_.count, reduced.data());
    }
    std::copy_n(reduced.data(), size, out + begin);
  }
}

template void AddWeightedRow(const float*, double, int64_t, double*);
template void AddWeightedRow(const double*, double, int64_t, double*);
template RowProducts ProductsOf(const float*, const float*, int64_t);
template RowProducts ProductsOf(const double*, const double*, int64_t);
template double RowSquaredDistance(const float*, const float*, int64_t);
template double RowSquaredDistance(const double*, const double*, int64_t);
template void RowCombiner::Combine(const std::vector<const float*>&, int64_t,
                                   float*) const;
template void RowCombiner::Combine(const std::vector<const double*>&, int64_t,
                                   double*) const;

}  // namespace fedlb
