// The loops over rows, one set for each instruction set.

#ifndef FEDLB_SRC_AGGREGATION_ROW_LOOP_SET_H_
#define FEDLB_SRC_AGGREGATION_ROW_LOOP_SET_H_

#include <cstdint>
#include <utility>
#include <vector>

namespace fedlb {

// |row|^2, which is not finite exactly when some value is not (or is beyond
// 1e150), and the product with another row.
struct RowProducts {
  double squared_norm = 0;
  double product = 0;
};

// Compare-exchanges of two rows, after which the first has the smaller value.
using SortingNetwork = std::vector<std::pair<int64_t, int64_t>>;

// Columns that are sorted side by side: all rows of them stay in the cache.
inline constexpr int64_t kSortedColumns = 256;

// T is float or double; all sums are in double.
template <typename T>
struct RowLoops {
  RowProducts (*products)(const T* row, const T* other, int64_t columns);
  double (*squared_distance)(const T* a, const T* b, int64_t columns);
  // sums += weight * row
  void (*add)(const T* row, double weight, int64_t columns, double* sums);
  void (*add_four)(const T* const* rows, const double* weights, int64_t columns,
                   double* sums);
  // Each column of a block of rows with kSortedColumns values.
  void (*sort)(const SortingNetwork& network, T* block);
};

struct RowLoopSet {
  RowLoops<float> of_floats;
  RowLoops<double> of_doubles;
};

// The last two exist on x86-64 only, and run where the processor has them.
extern const RowLoopSet kRowLoopsBaseline;
extern const RowLoopSet kRowLoopsAvx2;
extern const RowLoopSet kRowLoopsAvx512;

}  // namespace fedlb

#endif  // FEDLB_SRC_AGGREGATION_ROW_LOOP_SET_H_
