// Says what a status must be for the configuration to be at fault.

#ifndef FEDLB_TESTS_CORE_CONFIG_ERRORS_H_
#define FEDLB_TESTS_CORE_CONFIG_ERRORS_H_

#include <string>

#include <gmock/gmock.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/status.h"

namespace fedlb {

inline const absl::Status& StatusOf(const absl::Status& status) {
  return status;
}
template <typename T>
const absl::Status& StatusOf(const absl::StatusOr<T>& result) {
  return result.status();
}

// A kConfig status whose message contains `text`.
MATCHER_P(IsConfigError, text, std::string("is an error saying ") + text) {
  const absl::Status& status = StatusOf(arg);
  *result_listener << status.ToString();
  return !status.ok() && FailureOf(status) == Failure::kConfig &&
         std::string(status.message()).find(text) != std::string::npos;
}

}  // namespace fedlb

#endif  // FEDLB_TESTS_CORE_CONFIG_ERRORS_H_
