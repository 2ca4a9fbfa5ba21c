// The two splits of a dataset as they come from its files, and what has to hold
// before they become one dataset.

#ifndef FEDLB_DATA_LABELLED_EXAMPLES_H_
#define FEDLB_DATA_LABELLED_EXAMPLES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "data/array_dataset.h"

namespace fedlb::data {

// A split, and the files it was read from.
struct LabelledExamples {
  std::string path;
  std::string labels_path;
  std::vector<int64_t> example_shape;
  ExampleArray examples;
};

// kDataLoss (kInputFile) naming `path` and the first value that is not finite.
absl::Status CheckFinite(const std::string& path,
                         absl::Span<const float> values);

// Both splits in one. `num_classes` of 0 means the largest label + 1.
//
// kDataLoss (kInputFile) with path and cause: no examples, another number of
// labels than of examples, splits of different shape or type, labels outside
// [0, num_classes).
absl::StatusOr<ArrayContents> JoinSplits(LabelledExamples train,
                                         LabelledExamples test,
                                         int64_t num_classes);

}  // namespace fedlb::data

#endif  // FEDLB_DATA_LABELLED_EXAMPLES_H_
