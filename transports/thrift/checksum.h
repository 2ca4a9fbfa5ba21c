// Checksums of chunks, tasks and notices, as the protocol has them.

#ifndef FEDLB_TRANSPORTS_THRIFT_CHECKSUM_H_
#define FEDLB_TRANSPORTS_THRIFT_CHECKSUM_H_

#include <cstdint>

#include "absl/strings/string_view.h"

namespace fedlb::thrift {

// As Checksum in fedlb.thrift.
enum class ChecksumKind { kCrc32 = 1, kXxh3 = 2 };

int64_t ChecksumOf(ChecksumKind kind, absl::string_view bytes);

}  // namespace fedlb::thrift

#endif  // FEDLB_TRANSPORTS_THRIFT_CHECKSUM_H_
