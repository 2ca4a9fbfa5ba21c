#include "thrift/checksum.h"

#include <xxhash.h>
#include <zlib.h>

#include "absl/strings/str_join.h"

namespace fedlb::thrift {
namespace {

int64_t ChecksumFrom(ChecksumKind kind, uint64_t start,
                     absl::string_view bytes) {
  return static_cast<int64_t>(
      kind == ChecksumKind::kCrc32
          ? crc32_z(start, reinterpret_cast<const Bytef*>(bytes.data()),
                    bytes.size())
          : XXH3_64bits_withSeed(bytes.data(), bytes.size(), start));
}

}  // namespace

int64_t ChecksumOf(ChecksumKind kind, absl::string_view bytes) {
  return ChecksumFrom(kind, 0, bytes);
}

int64_t ChunkChecksum(ChecksumKind kind, absl::Span<const int64_t> place,
                      absl::string_view data) {
  const int64_t start =
      ChecksumOf(ChecksumKind::kCrc32, absl::StrJoin(place, " "));
  return ChecksumFrom(kind, static_cast<uint64_t>(start), data);
}

}  // namespace fedlb::thrift
