// Labelled examples in memory.

#ifndef FEDLB_DATASET_H_
#define FEDLB_DATASET_H_

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "fedlb/component.h"
#include "fedlb/export.h"
#include "fedlb/random.h"

namespace fedlb {

enum class Split { kTrain, kTest };

// inputs: [b, ...example shape], of the context's dtype, normalised.
// targets: [b], int64.
struct Batch {
  at::Tensor inputs;
  at::Tensor targets;
};

// Read whole by Create; immutable and thread-safe afterwards.
class FEDLB_API Dataset : public Component {
 public:
  static constexpr char kKind[] = "dataset";

  // Shape of one example, without the batch dimension.
  virtual std::vector<int64_t> example_shape() const = 0;
  virtual int64_t num_classes() const = 0;
  // Labels of all examples of a split, each in [0, num_classes).
  virtual const std::vector<int64_t>& labels(Split split) const = 0;
  int64_t size(Split split) const {
    return static_cast<int64_t>(labels(split).size());
  }
  // Bytes that the examples take in memory.
  virtual int64_t memory_bytes() const = 0;

  // The examples at `indices`, in that order. `epoch_key` fixes the random
  // numbers of augmentations together with each example's index; null for none
  // (evaluation).
  //
  // kInvalidArgument: an index out of range, or no index at all.
  absl::StatusOr<Batch> Load(Split split, absl::Span<const int64_t> indices,
                             const RandomKey* epoch_key) const;

 private:
  virtual absl::StatusOr<Batch> DoLoad(Split split,
                                       absl::Span<const int64_t> indices,
                                       const RandomKey* epoch_key) const = 0;
};

}  // namespace fedlb

#endif  // FEDLB_DATASET_H_
