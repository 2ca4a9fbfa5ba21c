// Checksums of chunks and of whole updates, as the protocol has them.

#ifndef FEDLB_TRANSPORTS_THRIFT_CHECKSUM_H_
#define FEDLB_TRANSPORTS_THRIFT_CHECKSUM_H_

#include <cstdint>
#include <memory>

#include <xxhash.h>

#include "absl/strings/string_view.h"

namespace fedlb::thrift {

// As Checksum in fedlb.thrift.
enum class ChecksumKind { kCrc32 = 1, kXxh3 = 2 };

int64_t ChecksumOf(ChecksumKind kind, absl::string_view bytes);

// Of bytes that come in pieces.
class RunningChecksum {
 public:
  explicit RunningChecksum(ChecksumKind kind);

  void Update(absl::string_view bytes);
  // Of all bytes so far.
  int64_t value() const;

 private:
  struct Free {
    void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
  };

  const ChecksumKind kind_;
  uint64_t crc32_ = 0;
  const std::unique_ptr<XXH3_state_t, Free> xxh3_;
};

}  // namespace fedlb::thrift

#endif  // FEDLB_TRANSPORTS_THRIFT_CHECKSUM_H_
