// Measures weights on held-out examples.

#ifndef FEDLB_EVALUATION_H_
#define FEDLB_EVALUATION_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "fedlb/component.h"
#include "fedlb/dataset.h"
#include "fedlb/experiment.h"
#include "fedlb/partitioner.h"
#include "local_client_host.h"

namespace fedlb {

// Loss and accuracies over the examples at `indices`, in chunks of `chunk_size`
// that the workers share. The chunks' sums are added in order, so that the
// result does not depend on the number of workers. NaN without examples.
absl::StatusOr<Evaluation> Evaluate(LocalClientHost& host,
                                    const TensorList& weights,
                                    const TensorList& buffers, Split split,
                                    absl::Span<const int64_t> indices,
                                    int64_t chunk_size);

// EvaluationReport::client_accuracy; `labels` are those of the training split.
std::vector<double> ClientAccuracies(const Evaluation& test,
                                     const Partition& partition,
                                     absl::Span<const int64_t> labels);

// Least, mean, largest value and standard deviation of `accuracies` as
// "<prefix>_min", "_mean", "_max", "_std"; NaNs are left out, and nothing is
// returned when nothing else is there.
ScalarMap SpreadOf(const std::string& prefix,
                   const std::vector<double>& accuracies);

}  // namespace fedlb

#endif  // FEDLB_EVALUATION_H_
