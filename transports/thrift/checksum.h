// Checksums of chunks and notices, as the protocol has them.

#ifndef FEDLB_TRANSPORTS_THRIFT_CHECKSUM_H_
#define FEDLB_TRANSPORTS_THRIFT_CHECKSUM_H_

#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace fedlb::thrift {

// As Checksum in fedlb.thrift.
enum class ChecksumKind { kCrc32 = 1, kXxh3 = 2 };

int64_t ChecksumOf(ChecksumKind kind, absl::string_view bytes);

// `place` is task and offset, or client, task and offset.
int64_t ChunkChecksum(ChecksumKind kind, absl::Span<const int64_t> place,
                      absl::string_view data);

}  // namespace fedlb::thrift

#endif  // FEDLB_TRANSPORTS_THRIFT_CHECKSUM_H_
