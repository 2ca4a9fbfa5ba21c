#include "thrift/checksum.h"

#include <xxhash.h>
#include <zlib.h>

namespace fedlb::thrift {

int64_t ChecksumOf(ChecksumKind kind, absl::string_view bytes) {
  return static_cast<int64_t>(
      kind == ChecksumKind::kCrc32
          ? crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()),
                    bytes.size())
          : XXH3_64bits(bytes.data(), bytes.size()));
}

}  // namespace fedlb::thrift
