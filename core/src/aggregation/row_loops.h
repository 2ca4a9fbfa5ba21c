// The loops over rows, for the instruction set that this file is compiled for.
// Included by one source for each, so that everything in it is local.

#ifndef FEDLB_SRC_AGGREGATION_ROW_LOOPS_H_
#define FEDLB_SRC_AGGREGATION_ROW_LOOPS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "aggregation/row_loop_set.h"

namespace fedlb {
namespace {

// A register of doubles. Compilers widen floats to them by detours.
#if defined(__AVX512F__)
struct Lanes {
  static constexpr int64_t kCount = 8;
  static Lanes Load(const float* values) {
    return {_mm512_cvtps_pd(_mm256_loadu_ps(values))};
  }
  static Lanes Load(const double* values) { return {_mm512_loadu_pd(values)}; }
  void Store(double* to) const { _mm512_storeu_pd(to, value); }
  Lanes operator-(Lanes other) const {
    return {_mm512_sub_pd(value, other.value)};
  }
  // this += a * b
  void AddProduct(Lanes a, Lanes b) {
    value = _mm512_fmadd_pd(a.value, b.value, value);
  }
  static Lanes Of(double x) { return {_mm512_set1_pd(x)}; }
  __m512d value = _mm512_setzero_pd();
};
#elif defined(__AVX2__)
struct Lanes {
  static constexpr int64_t kCount = 4;
  static Lanes Load(const float* values) {
    return {_mm256_cvtps_pd(_mm_loadu_ps(values))};
  }
  static Lanes Load(const double* values) { return {_mm256_loadu_pd(values)}; }
  void Store(double* to) const { _mm256_storeu_pd(to, value); }
  Lanes operator-(Lanes other) const {
    return {_mm256_sub_pd(value, other.value)};
  }
  void AddProduct(Lanes a, Lanes b) {
    value = _mm256_fmadd_pd(a.value, b.value, value);
  }
  static Lanes Of(double x) { return {_mm256_set1_pd(x)}; }
  __m256d value = _mm256_setzero_pd();
};
#else
struct Lanes {
  static constexpr int64_t kCount = 1;
  template <typename T>
  static Lanes Load(const T* values) {
    return {static_cast<double>(*values)};
  }
  void Store(double* to) const { *to = value; }
  Lanes operator-(Lanes other) const { return {value - other.value}; }
  void AddProduct(Lanes a, Lanes b) { value += a.value * b.value; }
  static Lanes Of(double x) { return {x}; }
  double value = 0;
};
#endif

// Several sums at a time: one would wait for itself.
constexpr size_t kSums = 4;
using Sums = std::array<Lanes, kSums>;
constexpr int64_t kStride = static_cast<int64_t>(kSums) * Lanes::kCount;

double Total(const Sums& sums) {
  std::array<double, Lanes::kCount> lanes;
  double total = 0;
  for (const Lanes& sum : sums) {
    sum.Store(lanes.data());
    for (const double lane : lanes) {
      total += lane;
    }
  }
  return total;
}

// body(sum, column) for whole strides, rest(column) for the columns after.
template <typename Body, typename Rest>
inline void ForEachColumn(int64_t columns, const Body& body, const Rest& rest) {
  int64_t c = 0;
  for (; c + kStride <= columns; c += kStride) {
    for (size_t i = 0; i < kSums; ++i) {
      body(i, c + static_cast<int64_t>(i) * Lanes::kCount);
    }
  }
  for (; c < columns; ++c) {
    rest(c);
  }
}

template <typename T>
RowProducts Products(const T* row, const T* other, int64_t columns) {
  Sums norms;
  Sums products;
  RowProducts rest;
  ForEachColumn(
      columns,
      [&](size_t i, int64_t c) {
        const Lanes x = Lanes::Load(row + c);
        norms[i].AddProduct(x, x);
        products[i].AddProduct(x, Lanes::Load(other + c));
      },
      [&](int64_t c) {
        const auto x = static_cast<double>(row[c]);
        rest.squared_norm += x * x;
        rest.product += x * static_cast<double>(other[c]);
      });
  return {Total(norms) + rest.squared_norm, Total(products) + rest.product};
}

template <typename T>
double SquaredDistance(const T* a, const T* b, int64_t columns) {
  Sums sums;
  double rest = 0;
  ForEachColumn(
      columns,
      [&](size_t i, int64_t c) {
        const Lanes difference = Lanes::Load(a + c) - Lanes::Load(b + c);
        sums[i].AddProduct(difference, difference);
      },
      [&](int64_t c) {
        const double difference =
            static_cast<double>(a[c]) - static_cast<double>(b[c]);
        rest += difference * difference;
      });
  return Total(sums) + rest;
}

template <typename T>
void Add(const T* row, double weight, int64_t columns, double* sums) {
  const Lanes factor = Lanes::Of(weight);
  int64_t c = 0;
  for (; c + Lanes::kCount <= columns; c += Lanes::kCount) {
    Lanes sum = Lanes::Load(sums + c);
    sum.AddProduct(factor, Lanes::Load(row + c));
    sum.Store(sums + c);
  }
  for (; c < columns; ++c) {
    sums[c] += weight * static_cast<double>(row[c]);
  }
}

// The same for four rows one after the other; the sums are read once.
template <typename T>
void AddFour(const T* const* rows, const double* weights, int64_t columns,
             double* sums) {
  std::array<Lanes, 4> factors;
  for (size_t k = 0; k < 4; ++k) {
    factors[k] = Lanes::Of(weights[k]);
  }
  int64_t c = 0;
  for (; c + Lanes::kCount <= columns; c += Lanes::kCount) {
    Lanes sum = Lanes::Load(sums + c);
    for (size_t k = 0; k < 4; ++k) {
      sum.AddProduct(factors[k], Lanes::Load(rows[k] + c));
    }
    sum.Store(sums + c);
  }
  for (; c < columns; ++c) {
    for (size_t k = 0; k < 4; ++k) {
      sums[c] += weights[k] * static_cast<double>(rows[k][c]);
    }
  }
}

// Columns of kSortedColumns values, row by row.
template <typename T>
void Sort(const SortingNetwork& network, T* block) {
  for (const auto& [low, high] : network) {
    T* const __restrict a = block + low * kSortedColumns;
    T* const __restrict b = block + high * kSortedColumns;
    for (int64_t c = 0; c < kSortedColumns; ++c) {
      const T x = a[c];
      const T y = b[c];
      a[c] = x < y ? x : y;
      b[c] = x < y ? y : x;
    }
  }
}

template <typename T>
constexpr RowLoops<T> MakeRowLoops() {
  return {&Products<T>, &SquaredDistance<T>, &Add<T>, &AddFour<T>, &Sort<T>};
}

}  // namespace
}  // namespace fedlb

#endif  // FEDLB_SRC_AGGREGATION_ROW_LOOPS_H_
