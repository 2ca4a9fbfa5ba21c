#include "thrift/refusal.h"

#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace fedlb::thrift {
namespace {

constexpr char kPayload[] = "fedlb/refusal";

}  // namespace

bool IsRetryable(Refused code) {
  return code == Refused::kCorrupt || code == Refused::kOutOfOrder ||
         code == Refused::kBusy || code == Refused::kUnavailable;
}

absl::Status Refusal(Refused code, absl::string_view message) {
  absl::Status status = absl::FailedPreconditionError(message);
  status.SetPayload(kPayload, absl::Cord(absl::StrCat(static_cast<int>(code))));
  return status;
}

std::optional<Refused> CodeOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kPayload);
  int code = 0;
  if (!payload.has_value() || !absl::SimpleAtoi(std::string(*payload), &code)) {
    return std::nullopt;
  }
  return static_cast<Refused>(code);
}

}  // namespace fedlb::thrift
