#include "aggregation/row_kernels.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <numeric>

// Compiled for several instruction sets, of which the processor's best runs. A
// sanitizer's runtime is not there yet when the loader would choose.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define FEDLB_CLONES __attribute__((target_clones("avx512f", "fma", "default")))
#else
#define FEDLB_CLONES
#endif
#define FEDLB_INLINE inline __attribute__((always_inline))

namespace fedlb {
namespace {

// Columns that are sorted side by side: all rows of them stay in the cache.
constexpr int64_t kColumns = 256;
// Columns that are summed at a time, and in how many parts a sum over columns
// is made.
constexpr int64_t kBlock = 1024;
constexpr int64_t kLanes = 16;

template <typename T>
FEDLB_INLINE RowProducts ProductsIn(const T* row, const T* other,
                                    int64_t columns) {
  std::array<double, kLanes> norms{};
  std::array<double, kLanes> products{};
  int64_t c = 0;
  for (; c + kLanes <= columns; c += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      const auto x = static_cast<double>(row[c + lane]);
      const auto y = static_cast<double>(other[c + lane]);
      norms[static_cast<size_t>(lane)] += x * x;
      products[static_cast<size_t>(lane)] += x * y;
    }
  }
  for (; c < columns; ++c) {
    const auto x = static_cast<double>(row[c]);
    norms[0] += x * x;
    products[0] += x * static_cast<double>(other[c]);
  }
  return {std::accumulate(norms.begin(), norms.end(), 0.0),
          std::accumulate(products.begin(), products.end(), 0.0)};
}

template <typename T>
FEDLB_INLINE double DistanceIn(const T* a, const T* b, int64_t columns) {
  std::array<double, kLanes> sums{};
  int64_t c = 0;
  for (; c + kLanes <= columns; c += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      const double difference =
          static_cast<double>(a[c + lane]) - static_cast<double>(b[c + lane]);
      sums[static_cast<size_t>(lane)] += difference * difference;
    }
  }
  for (; c < columns; ++c) {
    const double difference =
        static_cast<double>(a[c]) - static_cast<double>(b[c]);
    sums[0] += difference * difference;
  }
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

template <typename T>
FEDLB_INLINE void AddTo(const T* __restrict row, double weight, int64_t columns,
                        double* __restrict sums) {
  for (int64_t c = 0; c < columns; ++c) {
    sums[c] += weight * static_cast<double>(row[c]);
  }
}

// The same for four rows one after the other; the sums are read once.
template <typename T>
FEDLB_INLINE void AddFourTo(const T* const* rows, const double* weights,
                            int64_t columns, double* __restrict sums) {
  const T* const __restrict a = rows[0];
  const T* const __restrict b = rows[1];
  const T* const __restrict c = rows[2];
  const T* const __restrict d = rows[3];
  for (int64_t i = 0; i < columns; ++i) {
    double sum = sums[i];
    sum += weights[0] * static_cast<double>(a[i]);
    sum += weights[1] * static_cast<double>(b[i]);
    sum += weights[2] * static_cast<double>(c[i]);
    sum += weights[3] * static_cast<double>(d[i]);
    sums[i] = sum;
  }
}

template <typename T>
FEDLB_INLINE void SortBlock(
    const std::vector<std::pair<int64_t, int64_t>>& network, T* block) {
  for (const auto& [low, high] : network) {
    T* const __restrict a = block + low * kColumns;
    T* const __restrict b = block + high * kColumns;
    for (int64_t c = 0; c < kColumns; ++c) {
      const T x = a[c];
      const T y = b[c];
      a[c] = x < y ? x : y;
      b[c] = x < y ? y : x;
    }
  }
}

// Templates cannot be cloned.
FEDLB_CLONES void Add(const float* row, double weight, int64_t columns,
                      double* sums) {
  AddTo(row, weight, columns, sums);
}
FEDLB_CLONES void Add(const double* row, double weight, int64_t columns,
                      double* sums) {
  AddTo(row, weight, columns, sums);
}
FEDLB_CLONES void AddFour(const float* const* rows, const double* weights,
                          int64_t columns, double* sums) {
  AddFourTo(rows, weights, columns, sums);
}
FEDLB_CLONES void AddFour(const double* const* rows, const double* weights,
                          int64_t columns, double* sums) {
  AddFourTo(rows, weights, columns, sums);
}
FEDLB_CLONES RowProducts Products(const float* row, const float* other,
                                  int64_t columns) {
  return ProductsIn(row, other, columns);
}
FEDLB_CLONES RowProducts Products(const double* row, const double* other,
                                  int64_t columns) {
  return ProductsIn(row, other, columns);
}
FEDLB_CLONES double Distance(const float* a, const float* b, int64_t columns) {
  return DistanceIn(a, b, columns);
}
FEDLB_CLONES double Distance(const double* a, const double* b,
                             int64_t columns) {
  return DistanceIn(a, b, columns);
}
FEDLB_CLONES void Sort(const std::vector<std::pair<int64_t, int64_t>>& network,
                       float* block) {
  SortBlock(network, block);
}
FEDLB_CLONES void Sort(const std::vector<std::pair<int64_t, int64_t>>& network,
                       double* block) {
  SortBlock(network, block);
}

// The mean of sorted values [first, last) in each of kColumns columns.
template <typename T>
void MeanOfRange(const T* sorted, int64_t first, int64_t last, T* out) {
  std::array<double, kColumns> sums{};
  for (int64_t k = first; k < last; ++k) {
    Add(sorted + k * kColumns, 1, kColumns, sums.data());
  }
  const auto count = static_cast<double>(last - first);
  for (size_t c = 0; c < kColumns; ++c) {
    out[c] = static_cast<T>(sums[c] / count);
  }
}

// The mean of the `keep` of `count` sorted values that are nearest to the
// median.
template <typename T>
void MeanNearMedian(const T* sorted, int64_t count, int64_t keep, T* out) {
  for (int64_t c = 0; c < kColumns; ++c) {
    const auto at = [sorted, c](int64_t k) {
      return static_cast<double>(sorted[k * kColumns + c]);
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
      AddFour(four.data(), &combination.weights[i], size, sums.data());
    }
    for (; i < count; ++i) {
      Add(rows[combination.rows[i]] + begin, combination.weights[i], size,
          sums.data());
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
  Add(row, weight, columns, sums);
}

template <typename T>
RowProducts ProductsOf(const T* row, const T* other, int64_t columns) {
  return Products(row, other, columns);
}

template <typename T>
double RowSquaredDistance(const T* a, const T* b, int64_t columns) {
  return Distance(a, b, columns);
}

RowCombiner::RowCombiner(RowCombination combination)
    : combination_(std::move(combination)),
      network_(SortingNetwork(
          combination_.kind == RowCombination::Kind::kWeightedSum
              ? 0
              : static_cast<int64_t>(combination_.rows.size()))) {}

// D. E. Knuth, "The Art of Computer Programming", vol. 3, Algorithm 5.2.2M
// (Batcher's merge exchange).
RowCombiner::Network RowCombiner::SortingNetwork(int64_t count) {
  Network network;
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
  std::vector<T> block(static_cast<size_t>(count * kColumns));
  std::array<T, kColumns> reduced;
  for (int64_t begin = 0; begin < columns; begin += kColumns) {
    const int64_t size = std::min(kColumns, columns - begin);
    T* target = block.data();
    for (const size_t index : combination_.rows) {
      std::copy_n(rows[index] + begin, size, target);
      target += kColumns;
    }
    Sort(network_, block.data());
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
