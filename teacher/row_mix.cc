#include "row_mix.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include <ATen/Parallel.h>
#include <c10/util/BFloat16.h>
#include <c10/util/Exception.h>

// One copy of a function for each instruction set, chosen as it is loaded.
#if defined(__x86_64__)
#define FEDLB_FOR_EACH_CPU \
  __attribute__((target_clones("avx512f", "fma", "default")))
#else
#define FEDLB_FOR_EACH_CPU
#endif
#define FEDLB_ALWAYS_INLINE inline __attribute__((always_inline))

namespace fedlb::teacher {
namespace {

// Outputs that are summed up at a time: so many rows, so many vectors wide.
constexpr int kRows = 4;
constexpr int kVectors = 2;
constexpr int kVectorBytes = 64;
// Fewer are not worth another thread.
constexpr int64_t kTilesPerThread = 256;

template <typename T>
constexpr int64_t TileColumns() {
  return kVectors * kVectorBytes / sizeof(T);
}

template <typename Stored, typename T>
struct Operands {
  int64_t columns;
  int64_t old_rows;
  int64_t new_rows;
  int64_t out_rows;
  int64_t stride;    // of factors: out_rows up to a multiple of kRows
  const T* factors;  // [old_rows + new_rows, stride]
  const T* rows;
  Stored* basis;
};

// The kRows outputs from `factors` on of one tile of inputs.
template <typename T>
FEDLB_ALWAYS_INLINE void SumTile(int64_t inputs, int64_t stride,
                                 const T* factors, const T* tile, T* sums) {
  typedef T Vector __attribute__((vector_size(kVectorBytes)));
  constexpr int kLanes = kVectorBytes / sizeof(T);
  Vector sum[kRows][kVectors] = {};
  for (int64_t k = 0; k < inputs; ++k) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      Vector input;
      std::memcpy(&input, tile + (k * kVectors + v) * kLanes, sizeof(input));
#pragma GCC unroll 4
      for (int j = 0; j < kRows; ++j) {
        sum[j][v] += factors[k * stride + j] * input;
      }
    }
  }
  std::memcpy(sums, sum, sizeof(sum));
}

// With the loop of a whole tile on its own, which needs no call of memmove.
template <int64_t kTile, typename From, typename To>
FEDLB_ALWAYS_INLINE void Copy(const From* from, int64_t count, To* to) {
  if (count == kTile) {
    for (int64_t i = 0; i < kTile; ++i) {
      to[i] = from[i];
    }
  } else {
    std::copy(from, from + count, to);
  }
}

template <typename Stored, typename T>
FEDLB_ALWAYS_INLINE void Mix(const Operands<Stored, T>& o, int64_t first_tile,
                             int64_t last_tile, T* tile) {
  constexpr int64_t kTile = TileColumns<T>();
  const int64_t inputs = o.old_rows + o.new_rows;
  T sums[kRows * kTile];
  for (int64_t t = first_tile; t < last_tile; ++t) {
    const int64_t begin = t * kTile;
    const int64_t count = std::min(kTile, o.columns - begin);
    // All of the tile is read before any of it is written.
    for (int64_t k = 0; k < o.old_rows; ++k) {
      Copy<kTile>(o.basis + k * o.columns + begin, count, tile + k * kTile);
    }
    for (int64_t k = 0; k < o.new_rows; ++k) {
      Copy<kTile>(o.rows + k * o.columns + begin, count,
                  tile + (o.old_rows + k) * kTile);
    }
    for (int64_t first = 0; first < o.out_rows; first += kRows) {
      SumTile(inputs, o.stride, o.factors + first, tile, sums);
      const int64_t last = std::min<int64_t>(first + kRows, o.out_rows);
      for (int64_t j = first; j < last; ++j) {
        Copy<kTile>(sums + (j - first) * kTile, count,
                    o.basis + j * o.columns + begin);
      }
    }
  }
}

FEDLB_FOR_EACH_CPU void MixFor(const Operands<float, float>& o,
                               int64_t first_tile, int64_t last_tile,
                               float* tile) {
  Mix(o, first_tile, last_tile, tile);
}

FEDLB_FOR_EACH_CPU void MixFor(const Operands<double, double>& o,
                               int64_t first_tile, int64_t last_tile,
                               double* tile) {
  Mix(o, first_tile, last_tile, tile);
}

FEDLB_FOR_EACH_CPU void MixFor(const Operands<c10::BFloat16, float>& o,
                               int64_t first_tile, int64_t last_tile,
                               float* tile) {
  Mix(o, first_tile, last_tile, tile);
}

FEDLB_FOR_EACH_CPU void MixFor(const Operands<c10::BFloat16, double>& o,
                               int64_t first_tile, int64_t last_tile,
                               double* tile) {
  Mix(o, first_tile, last_tile, tile);
}

template <typename Stored, typename T>
void MixOf(const at::Tensor& factors, const at::Tensor& rows,
           at::Tensor& basis) {
  const int64_t inputs = factors.size(1);
  const int64_t out_rows = factors.size(0);
  const int64_t stride = (out_rows + kRows - 1) / kRows * kRows;
  std::vector<T> by_input(static_cast<size_t>(inputs * stride));
  const T* const by_output = factors.const_data_ptr<T>();
  for (int64_t j = 0; j < out_rows; ++j) {
    for (int64_t k = 0; k < inputs; ++k) {
      by_input[static_cast<size_t>(k * stride + j)] = by_output[j * inputs + k];
    }
  }
  const Operands<Stored, T> operands = {.columns = basis.size(1),
                                        .old_rows = inputs - rows.size(0),
                                        .new_rows = rows.size(0),
                                        .out_rows = out_rows,
                                        .stride = stride,
                                        .factors = by_input.data(),
                                        .rows = rows.const_data_ptr<T>(),
                                        .basis = basis.data_ptr<Stored>()};
  const int64_t columns = TileColumns<T>();
  at::parallel_for(
      0, (basis.size(1) + columns - 1) / columns, kTilesPerThread,
      [&operands, inputs, columns](int64_t first_tile, int64_t last_tile) {
        std::vector<T> tile(static_cast<size_t>(inputs * columns));
        MixFor(operands, first_tile, last_tile, tile.data());
      });
}

}  // namespace

void MixRows(const at::Tensor& factors, const at::Tensor& rows,
             at::Tensor& basis) {
  TORCH_CHECK(
      factors.is_contiguous() && rows.is_contiguous() && basis.is_contiguous(),
      "MixRows needs contiguous operands");
  const bool in_double = rows.scalar_type() == at::kDouble;
  if (basis.scalar_type() == at::kBFloat16) {
    in_double ? MixOf<c10::BFloat16, double>(factors, rows, basis)
              : MixOf<c10::BFloat16, float>(factors, rows, basis);
  } else {
    in_double ? MixOf<double, double>(factors, rows, basis)
              : MixOf<float, float>(factors, rows, basis);
  }
}

}  // namespace fedlb::teacher
