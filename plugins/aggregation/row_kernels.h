// What robust rules compute over the rows of a round, whatever the number of
// threads with the same bits.

#ifndef FEDLB_PLUGINS_AGGREGATION_ROW_KERNELS_H_
#define FEDLB_PLUGINS_AGGREGATION_ROW_KERNELS_H_

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace fedlb::aggregation {

// In all of them `rows` is one or more 1-d tensors of one length and type,
// float or double, contiguous and finite; sums are in double. What they return
// has the rows' type.

// In each column the mean of what is left without the `trim` smallest and the
// `trim` largest values; fewer than half of the rows each.
at::Tensor TrimmedMean(const std::vector<at::Tensor>& rows, int64_t trim);

// In each column the middle value, of an even number of rows the mean of the
// two middle ones.
at::Tensor Median(const std::vector<at::Tensor>& rows);

// In each column the mean of the `keep` values nearest to the median, at least
// one. Of two equally near, the smaller.
at::Tensor MeanNearMedian(const std::vector<at::Tensor>& rows, int64_t keep);

// The sum of weights[k] * rows[k].
at::Tensor WeightedSum(const std::vector<at::Tensor>& rows,
                       const std::vector<double>& weights);

// |rows[i] - rows[j]|^2 at [i][j]. Of differences, not of a Gram matrix: the
// distances of updates that are close to each other keep their order, however
// long the updates are.
std::vector<std::vector<double>> SquaredDistances(
    const std::vector<at::Tensor>& rows);

// |rows[k] - point|^2; `point` is one more row.
std::vector<double> SquaredDistancesTo(const std::vector<at::Tensor>& rows,
                                       const at::Tensor& point);

}  // namespace fedlb::aggregation

#endif  // FEDLB_PLUGINS_AGGREGATION_ROW_KERNELS_H_
