#include "aggregation/row_kernels.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <utility>

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/ops/empty_like.h>

// Compiled for several instruction sets, of which the processor's best runs. A
// sanitizer's runtime is not there yet when the loader would choose.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define FEDLB_CLONES __attribute__((target_clones("avx512f", "fma", "default")))
#else
#define FEDLB_CLONES
#endif
#define FEDLB_INLINE inline __attribute__((always_inline))

namespace fedlb::aggregation {
namespace {

// Columns that are sorted side by side: all rows of them stay in the cache.
constexpr int64_t kColumns = 256;
// Columns whose differences are summed at a time, and in how many parts.
constexpr int64_t kBlock = 1024;
constexpr int64_t kLanes = 16;
// What one task does. Partial sums are per task, so that this and not the
// number of threads decides how they round.
constexpr int64_t kTaskColumns = int64_t{1} << 16;

// Compare-exchanges that sort `count` values: D. E. Knuth, "The Art of Computer
// Programming", vol. 3, Algorithm 5.2.2M (Batcher's merge exchange).
using Network = std::vector<std::pair<int64_t, int64_t>>;

Network SortingNetwork(int64_t count) {
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
FEDLB_INLINE void SortBlock(const Network& network, T* block) {
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

FEDLB_CLONES void SortColumns(const Network& network, float* block) {
  SortBlock(network, block);
}
FEDLB_CLONES void SortColumns(const Network& network, double* block) {
  SortBlock(network, block);
}

template <typename T>
FEDLB_INLINE double SquaredDistance(const T* a, const T* b, int64_t count) {
  std::array<double, kLanes> sums{};
  int64_t c = 0;
  for (; c + kLanes <= count; c += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      const double difference =
          static_cast<double>(a[c + lane]) - static_cast<double>(b[c + lane]);
      sums[static_cast<size_t>(lane)] += difference * difference;
    }
  }
  for (; c < count; ++c) {
    const double difference =
        static_cast<double>(a[c]) - static_cast<double>(b[c]);
    sums[0] += difference * difference;
  }
  double total = 0;
  for (const double sum : sums) {
    total += sum;
  }
  return total;
}

FEDLB_CLONES double Distance(const float* a, const float* b, int64_t count) {
  return SquaredDistance(a, b, count);
}
FEDLB_CLONES double Distance(const double* a, const double* b, int64_t count) {
  return SquaredDistance(a, b, count);
}

// sums += weight * row.
template <typename T>
FEDLB_INLINE void AddRowTo(const T* __restrict row, double weight,
                           int64_t count, double* __restrict sums) {
  for (int64_t c = 0; c < count; ++c) {
    sums[c] += weight * static_cast<double>(row[c]);
  }
}
FEDLB_CLONES void AddRow(const float* row, double weight, int64_t count,
                         double* sums) {
  AddRowTo(row, weight, count, sums);
}
FEDLB_CLONES void AddRow(const double* row, double weight, int64_t count,
                         double* sums) {
  AddRowTo(row, weight, count, sums);
}

int64_t NumTasks(int64_t width) {
  return (width + kTaskColumns - 1) / kTaskColumns;
}

// Calls body(task, begin, end) for the columns of every task.
template <typename Body>
void ForEachTask(int64_t width, const Body& body) {
  at::parallel_for(0, NumTasks(width), 1, [&](int64_t first, int64_t last) {
    for (int64_t task = first; task < last; ++task) {
      body(task, task * kTaskColumns,
           std::min(width, (task + 1) * kTaskColumns));
    }
  });
}

// Sorts each column and has `reduce(sorted, out)` make its result: the values
// of kColumns columns, row by row in rising order, to kColumns results.
template <typename T, typename Reduce>
at::Tensor ReduceSorted(const std::vector<at::Tensor>& rows,
                        const Reduce& reduce) {
  const auto count = static_cast<int64_t>(rows.size());
  const Network network = SortingNetwork(count);
  at::Tensor result = at::empty_like(rows[0]);
  T* const out = result.mutable_data_ptr<T>();
  ForEachTask(rows[0].numel(), [&](int64_t, int64_t begin, int64_t end) {
    std::vector<T> block(static_cast<size_t>(count * kColumns));
    std::array<T, kColumns> reduced;
    for (int64_t c = begin; c < end; c += kColumns) {
      const int64_t columns = std::min(kColumns, end - c);
      for (int64_t k = 0; k < count; ++k) {
        const T* const row =
            rows[static_cast<size_t>(k)].template const_data_ptr<T>() + c;
        std::copy(row, row + columns, block.data() + k * kColumns);
      }
      SortColumns(network, block.data());
      reduce(block.data(), reduced.data());
      std::copy(reduced.data(), reduced.data() + columns, out + c);
    }
  });
  return result;
}

// The mean of sorted values [first, last) in each column.
template <typename T>
void MeanOfRange(const T* sorted, int64_t first, int64_t last, T* out) {
  std::array<double, kColumns> sums{};
  for (int64_t k = first; k < last; ++k) {
    AddRow(sorted + k * kColumns, 1, kColumns, sums.data());
  }
  const auto count = static_cast<double>(last - first);
  for (int64_t c = 0; c < kColumns; ++c) {
    out[c] = static_cast<T>(sums[static_cast<size_t>(c)] / count);
  }
}

}  // namespace

at::Tensor TrimmedMean(const std::vector<at::Tensor>& rows, int64_t trim) {
  const auto count = static_cast<int64_t>(rows.size());
  return AT_DISPATCH_FLOATING_TYPES(rows[0].scalar_type(), "TrimmedMean", [&] {
    return ReduceSorted<scalar_t>(
        rows, [&](const scalar_t* sorted, scalar_t* out) {
          MeanOfRange(sorted, trim, count - trim, out);
        });
  });
}

at::Tensor Median(const std::vector<at::Tensor>& rows) {
  return TrimmedMean(rows, (static_cast<int64_t>(rows.size()) - 1) / 2);
}

at::Tensor MeanNearMedian(const std::vector<at::Tensor>& rows, int64_t keep) {
  const auto count = static_cast<int64_t>(rows.size());
  const auto near = [&](const auto* sorted, auto* out) {
    for (int64_t c = 0; c < kColumns; ++c) {
      const auto at = [&](int64_t k) {
        return static_cast<double>(sorted[k * kColumns + c]);
      };
      const double median = (at((count - 1) / 2) + at(count / 2)) / 2;
      // The nearest values stand together: move on while the value that comes
      // in is nearer than the one that goes out.
      int64_t first = 0;
      while (first + keep < count &&
             at(first + keep) - median < median - at(first)) {
        ++first;
      }
      double sum = 0;
      for (int64_t k = first; k < first + keep; ++k) {
        sum += at(k);
      }
      out[c] = static_cast<std::remove_reference_t<decltype(*out)>>(
          sum / static_cast<double>(keep));
    }
  };
  return AT_DISPATCH_FLOATING_TYPES(
      rows[0].scalar_type(), "MeanNearMedian",
      [&] { return ReduceSorted<scalar_t>(rows, near); });
}

at::Tensor WeightedSum(const std::vector<at::Tensor>& rows,
                       const std::vector<double>& weights) {
  at::Tensor result = at::empty_like(rows[0]);
  AT_DISPATCH_FLOATING_TYPES(rows[0].scalar_type(), "WeightedSum", [&] {
    scalar_t* const out = result.mutable_data_ptr<scalar_t>();
    ForEachTask(rows[0].numel(), [&](int64_t, int64_t begin, int64_t end) {
      for (int64_t c = begin; c < end; c += kBlock) {
        const int64_t columns = std::min(kBlock, end - c);
        std::array<double, kBlock> sums{};
        for (size_t k = 0; k < rows.size(); ++k) {
          AddRow(rows[k].const_data_ptr<scalar_t>() + c, weights[k], columns,
                 sums.data());
        }
        std::copy(sums.data(), sums.data() + columns, out + c);
      }
    });
  });
  return result;
}

std::vector<std::vector<double>> SquaredDistances(
    const std::vector<at::Tensor>& rows) {
  const size_t count = rows.size();
  const int64_t width = rows[0].numel();
  // By task, the pairs i < j row by row.
  const size_t num_pairs = count * (count - 1) / 2;
  std::vector<std::vector<double>> parts(static_cast<size_t>(NumTasks(width)),
                                         std::vector<double>(num_pairs));
  AT_DISPATCH_FLOATING_TYPES(rows[0].scalar_type(), "SquaredDistances", [&] {
    ForEachTask(width, [&](int64_t task, int64_t begin, int64_t end) {
      std::vector<double>& sums = parts[static_cast<size_t>(task)];
      for (int64_t c = begin; c < end; c += kBlock) {
        const int64_t columns = std::min(kBlock, end - c);
        size_t pair = 0;
        for (size_t i = 0; i < count; ++i) {
          const scalar_t* const a = rows[i].const_data_ptr<scalar_t>() + c;
          for (size_t j = i + 1; j < count; ++j) {
            sums[pair++] +=
                Distance(a, rows[j].const_data_ptr<scalar_t>() + c, columns);
          }
        }
      }
    });
  });
  std::vector<std::vector<double>> distances(count, std::vector<double>(count));
  for (const std::vector<double>& part : parts) {
    size_t pair = 0;
    for (size_t i = 0; i < count; ++i) {
      for (size_t j = i + 1; j < count; ++j) {
        distances[i][j] += part[pair++];
        distances[j][i] = distances[i][j];
      }
    }
  }
  return distances;
}

std::vector<double> SquaredDistancesTo(const std::vector<at::Tensor>& rows,
                                       const at::Tensor& point) {
  const int64_t width = point.numel();
  std::vector<std::vector<double>> parts(static_cast<size_t>(NumTasks(width)),
                                         std::vector<double>(rows.size()));
  AT_DISPATCH_FLOATING_TYPES(point.scalar_type(), "SquaredDistancesTo", [&] {
    const scalar_t* const to = point.const_data_ptr<scalar_t>();
    ForEachTask(width, [&](int64_t task, int64_t begin, int64_t end) {
      for (size_t k = 0; k < rows.size(); ++k) {
        parts[static_cast<size_t>(task)][k] =
            Distance(rows[k].const_data_ptr<scalar_t>() + begin, to + begin,
                     end - begin);
      }
    });
  });
  std::vector<double> distances(rows.size());
  for (const std::vector<double>& part : parts) {
    for (size_t k = 0; k < rows.size(); ++k) {
      distances[k] += part[k];
    }
  }
  return distances;
}

}  // namespace fedlb::aggregation
