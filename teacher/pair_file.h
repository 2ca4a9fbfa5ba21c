// Pairs of gradients and displacements as files.

#ifndef FEDLB_TEACHER_PAIR_FILE_H_
#define FEDLB_TEACHER_PAIR_FILE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/gradient_mapper.h"
#include "fedlb/tensor_list.h"

namespace fedlb::teacher {

struct RecordedPair {
  std::string target;   // gradient_mapper.target
  StepContext context;  // of the pair's gradient
  DisplacementPair pair;
  // The means of the round's gradients in groups, and the examples behind them;
  // for teachers that learn from these.
  std::vector<TensorList> partial_means;
  int64_t cohort_batch_size = 0;
};

// A safetensors file with a SHA-256 digest: tensors
// "<gradient | displacement | reordered | partial_mean_i>/<parameter>", and the
// numbers of the context as metadata "fedlb.<name>".
//
// kStorage: as WriteFileDurably.
absl::Status WritePairFile(const std::string& path, const TensorLayout& layout,
                           const RecordedPair& recorded);

// kInputFile naming the file: missing, truncated, changed, of another kind, of
// a model with other parameters, or with values that are not finite.
absl::StatusOr<RecordedPair> ReadPairFile(const std::string& path,
                                          const TensorLayout& layout);

// The name of a round's file within a folder of pairs.
std::string PairFileName(int64_t round);

// The files of a folder that are named so, in order. kInputFile: the folder
// cannot be read or has none.
absl::StatusOr<std::vector<std::string>> FindPairFiles(
    const std::string& folder);

}  // namespace fedlb::teacher

#endif  // FEDLB_TEACHER_PAIR_FILE_H_
