// Why the server does not do what a client asks: statuses that carry a code of
// the protocol.

#ifndef FEDLB_TRANSPORTS_THRIFT_REFUSAL_H_
#define FEDLB_TRANSPORTS_THRIFT_REFUSAL_H_

#include <optional>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace fedlb::thrift {

// As RefusalCode in fedlb.thrift.
enum class Refused {
  kVersion = 1,
  kNotJoined,
  kUnauthenticated,
  kForbidden,
  kUnknownClient,
  kSuperseded,
  kTaskClosed,
  kTooLarge,
  kCorrupt,
  kOutOfOrder,
  kMalformed,
  kBusy,
  kUnavailable,
};

// Whether the same call may succeed later.
bool IsRetryable(Refused code);

absl::Status Refusal(Refused code, absl::string_view message);

// The code that `status` was made with; nullopt for any other status.
std::optional<Refused> CodeOf(const absl::Status& status);

}  // namespace fedlb::thrift

#endif  // FEDLB_TRANSPORTS_THRIFT_REFUSAL_H_
