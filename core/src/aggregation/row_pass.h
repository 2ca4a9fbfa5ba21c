// One pass over update files, block of columns by block of columns.

#ifndef FEDLB_SRC_AGGREGATION_ROW_PASS_H_
#define FEDLB_SRC_AGGREGATION_ROW_PASS_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "aggregation/row_kernels.h"
#include "aggregation/update_file.h"
#include "fedlb/row_rule.h"

namespace fedlb {

// What is wanted of a pass. Pointers may be null and outlive the pass.
template <typename T>
struct RowPassRequest {
  // Taken from every row first: `width` values.
  const T* origin = nullptr;
  // Distances that are wanted.
  std::vector<RowPair> pairs;
  // The aggregate of each column: what `combiner` writes, or without one what
  // is there already. The products of the rows with it are computed.
  const RowCombiner* combiner = nullptr;
  T* aggregate = nullptr;
  // Called after every block with the columns done; false ends the pass.
  std::function<bool(int64_t columns)> progress;
};

// By row.
struct RowPassResult {
  // Why the file cannot be used. Where there is one of these, the rest is not
  // to be trusted.
  std::vector<absl::Status> faults;
  std::vector<double> squared_norms;
  // With the aggregate, where there is one.
  std::vector<double> products;
  PairDistances squared_distances;

  bool ok() const;
};

// Reads every file once. All of it rounds alike whatever the number of threads;
// memory is a block of at most 16,384 values a file.
//
// kInterrupted. Faults of files are in the result.
template <typename T>
absl::StatusOr<RowPassResult> RunRowPass(const std::vector<UpdateFile*>& files,
                                         int64_t width,
                                         const RowPassRequest<T>& request);

}  // namespace fedlb

#endif  // FEDLB_SRC_AGGREGATION_ROW_PASS_H_
