#include "thrift/checksum.h"

#include <zlib.h>

namespace fedlb::thrift {
namespace {

uint64_t Crc32(uint64_t before, absl::string_view bytes) {
  return crc32_z(before, reinterpret_cast<const Bytef*>(bytes.data()),
                 bytes.size());
}

}  // namespace

int64_t ChecksumOf(ChecksumKind kind, absl::string_view bytes) {
  return static_cast<int64_t>(kind == ChecksumKind::kCrc32
                                  ? Crc32(0, bytes)
                                  : XXH3_64bits(bytes.data(), bytes.size()));
}

RunningChecksum::RunningChecksum(ChecksumKind kind)
    : kind_(kind), xxh3_(XXH3_createState()) {
  XXH3_64bits_reset(xxh3_.get());
}

void RunningChecksum::Update(absl::string_view bytes) {
  if (kind_ == ChecksumKind::kCrc32) {
    crc32_ = Crc32(crc32_, bytes);
  } else {
    XXH3_64bits_update(xxh3_.get(), bytes.data(), bytes.size());
  }
}

int64_t RunningChecksum::value() const {
  return static_cast<int64_t>(
      kind_ == ChecksumKind::kCrc32 ? crc32_ : XXH3_64bits_digest(xxh3_.get()));
}

}  // namespace fedlb::thrift
