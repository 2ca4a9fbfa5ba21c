// What a transport takes to move a message.

#ifndef FEDLB_SRC_PROFILE_COMMUNICATION_H_
#define FEDLB_SRC_PROFILE_COMMUNICATION_H_

#include "absl/status/statusor.h"
#include "fedlb/export.h"
#include "fedlb/profile.h"
#include "fedlb/transport.h"

namespace fedlb {

// A line through the median times of messages from 1 KiB to 4 MiB. The
// transport is open.
//
// kUnimplemented: nothing travels over it.
FEDLB_API absl::StatusOr<LinkModel> MeasureLink(Transport& transport);

}  // namespace fedlb

#endif  // FEDLB_SRC_PROFILE_COMMUNICATION_H_
