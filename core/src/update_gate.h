// What an update must satisfy before it counts, wherever it comes from.

#ifndef FEDLB_SRC_UPDATE_GATE_H_
#define FEDLB_SRC_UPDATE_GATE_H_

#include <cstdint>

#include "absl/status/status.h"
#include "fedlb/update_sink.h"

namespace fedlb {

// kInvalidArgument, here and below: the client claims a number that nobody has
// to believe.
absl::Status CheckExamples(const UpdateGateOptions& gate, int64_t num_examples);
absl::Status CheckLocalSteps(int64_t local_steps);

// The update is longer than gate.max_norm, where there is one.
absl::Status CheckNorm(const UpdateGateOptions& gate, double norm);

}  // namespace fedlb

#endif  // FEDLB_SRC_UPDATE_GATE_H_
