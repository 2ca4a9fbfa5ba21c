// Arithmetic on rows of numbers: blocks of the updates of a round.

#ifndef FEDLB_SRC_AGGREGATION_ROW_KERNELS_H_
#define FEDLB_SRC_AGGREGATION_ROW_KERNELS_H_

#include <cstdint>
#include <vector>

#include "aggregation/row_loop_set.h"
#include "fedlb/row_rule.h"

namespace fedlb {

// All sums are in double and round alike on every call with the same values and
// lengths. Nothing here starts threads. T is float or double.

// sums[c] += weight * row[c].
template <typename T>
void AddWeightedRow(const T* row, double weight, int64_t columns, double* sums);

template <typename T>
RowProducts ProductsOf(const T* row, const T* other, int64_t columns);

// |a - b|^2. Of differences, not of a Gram matrix: the distances of updates
// that are close to each other keep their order, however long these are.
template <typename T>
double RowSquaredDistance(const T* a, const T* b, int64_t columns);

// Carries out one decision of a rule on any number of blocks, from any number
// of threads.
class RowCombiner {
 public:
  explicit RowCombiner(RowCombination combination);

  // `rows` are the blocks of all updates of the round; `out` is none of them.
  template <typename T>
  void Combine(const std::vector<const T*>& rows, int64_t columns,
               T* out) const;

 private:
  static SortingNetwork MakeNetwork(int64_t count);

  template <typename T>
  void CombineSorted(const std::vector<const T*>& rows, int64_t columns,
                     T* out) const;

  const RowCombination combination_;
  const SortingNetwork network_;
};

}  // namespace fedlb

#endif  // FEDLB_SRC_AGGREGATION_ROW_KERNELS_H_
