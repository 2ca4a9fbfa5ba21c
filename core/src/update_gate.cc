#include "update_gate.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace fedlb {

absl::Status CheckExamples(const UpdateGateOptions& gate,
                           int64_t num_examples) {
  if (num_examples < 1 || num_examples > gate.max_examples) {
    return absl::InvalidArgumentError(
        absl::StrCat("claims ", num_examples, " examples; 1 to ",
                     gate.max_examples, " are allowed"));
  }
  return absl::OkStatus();
}

absl::Status CheckLocalSteps(int64_t local_steps) {
  constexpr int64_t kMostLocalSteps = int64_t{1} << 31;
  if (local_steps < 0 || local_steps > kMostLocalSteps) {
    return absl::InvalidArgumentError(
        absl::StrCat("claims ", local_steps, " local steps"));
  }
  return absl::OkStatus();
}

absl::Status CheckNorm(const UpdateGateOptions& gate, double norm) {
  if (gate.max_norm > 0 && norm > gate.max_norm) {
    return absl::InvalidArgumentError(
        absl::StrFormat("norm of the update is %.4g, more than "
                        "update_gate.max_norm = %.4g",
                        norm, gate.max_norm));
  }
  return absl::OkStatus();
}

}  // namespace fedlb
