#include "torchscript/zip_archive.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "fedlb/status.h"

namespace fedlb::torchscript {
namespace {

// PKWARE, "APPNOTE.TXT - .ZIP File Format Specification", 6.3.10, section 4.3.
constexpr uint32_t kLocalHeader = 0x04034b50;
constexpr uint32_t kDirectoryEntry = 0x02014b50;
constexpr uint32_t kEndOfDirectory = 0x06054b50;
constexpr uint32_t kZip64EndOfDirectory = 0x06064b50;
constexpr uint32_t kZip64Locator = 0x07064b50;

constexpr uint64_t kLocalHeaderBytes = 30;
constexpr uint64_t kDirectoryEntryBytes = 46;
constexpr uint64_t kEndOfDirectoryBytes = 22;
constexpr uint64_t kZip64EndOfDirectoryBytes = 56;
constexpr uint64_t kZip64LocatorBytes = 20;
constexpr uint64_t kMaxCommentBytes = 65535;

constexpr uint16_t kZip64Extra = 1;
constexpr uint64_t kStored = 0;
constexpr uint64_t kDeflated = 8;

absl::Status Damaged(absl::string_view what) {
  return absl::DataLossError(
      absl::StrCat("the zip archive is damaged: ", what));
}

bool Holds(absl::string_view bytes, uint64_t offset, uint64_t count) {
  return offset <= bytes.size() && count <= bytes.size() - offset;
}

// A little-endian number of `width` bytes, which must be there.
uint64_t Number(absl::string_view bytes, uint64_t offset, int width) {
  uint64_t value = 0;
  for (int i = width - 1; i >= 0; --i) {
    value = value << 8 | static_cast<uint8_t>(bytes[offset + i]);
  }
  return value;
}

bool Begins(absl::string_view bytes, uint64_t offset, uint64_t size,
            uint32_t signature) {
  return Holds(bytes, offset, size) && Number(bytes, offset, 4) == signature;
}

struct Directory {
  uint64_t entries = 0;
  uint64_t bytes = 0;
  uint64_t offset = 0;
};

absl::StatusOr<Directory> FindDirectory(absl::string_view bytes) {
  // The end is followed by a comment of unknown length only.
  const uint64_t furthest =
      std::min<uint64_t>(bytes.size(), kEndOfDirectoryBytes + kMaxCommentBytes);
  for (uint64_t back = kEndOfDirectoryBytes; back <= furthest; ++back) {
    const uint64_t end = bytes.size() - back;
    if (!Begins(bytes, end, kEndOfDirectoryBytes, kEndOfDirectory)) {
      continue;
    }
    if (end >= kZip64LocatorBytes &&
        Begins(bytes, end - kZip64LocatorBytes, kZip64LocatorBytes,
               kZip64Locator)) {
      const uint64_t wide = Number(bytes, end - kZip64LocatorBytes + 8, 8);
      if (!Begins(bytes, wide, kZip64EndOfDirectoryBytes,
                  kZip64EndOfDirectory)) {
        return Damaged("the end of its directory is not where it should be");
      }
      return Directory{Number(bytes, wide + 32, 8), Number(bytes, wide + 40, 8),
                       Number(bytes, wide + 48, 8)};
    }
    return Directory{Number(bytes, end + 10, 2), Number(bytes, end + 12, 4),
                     Number(bytes, end + 16, 4)};
  }
  return Damaged("its directory is missing, as it is when a file was cut off");
}

struct Record {
  std::string name;
  uint64_t method = 0;
  uint64_t crc = 0;
  uint64_t packed_bytes = 0;
  uint64_t unpacked_bytes = 0;
  uint64_t header_offset = 0;
};

// Replaces the fields that do not fit 32 bits by those of the extra block.
absl::Status ReadZip64Fields(absl::string_view extra, Record& record) {
  uint64_t at = 0;
  while (Holds(extra, at, 4)) {
    const uint64_t size = Number(extra, at + 2, 2);
    if (!Holds(extra, at + 4, size)) {
      break;
    }
    if (Number(extra, at, 2) == kZip64Extra) {
      const absl::string_view fields = extra.substr(at + 4, size);
      uint64_t next = 0;
      for (uint64_t* field : {&record.unpacked_bytes, &record.packed_bytes,
                              &record.header_offset}) {
        if (*field != std::numeric_limits<uint32_t>::max()) {
          continue;
        }
        if (!Holds(fields, next, 8)) {
          return Damaged(absl::StrCat(record.name, " lacks its length"));
        }
        *field = Number(fields, next, 8);
        next += 8;
      }
    }
    at += 4 + size;
  }
  return absl::OkStatus();
}

// Reads the entry at `offset` and moves behind it.
absl::StatusOr<Record> ReadEntry(absl::string_view directory,
                                 uint64_t& offset) {
  if (!Begins(directory, offset, kDirectoryEntryBytes, kDirectoryEntry)) {
    return Damaged("its directory ends early");
  }
  const uint64_t name_bytes = Number(directory, offset + 28, 2);
  const uint64_t extra_bytes = Number(directory, offset + 30, 2);
  const uint64_t comment_bytes = Number(directory, offset + 32, 2);
  const uint64_t name = offset + kDirectoryEntryBytes;
  if (!Holds(directory, name, name_bytes + extra_bytes + comment_bytes)) {
    return Damaged("an entry of its directory is cut off");
  }
  Record record;
  record.name = std::string(directory.substr(name, name_bytes));
  record.method = Number(directory, offset + 10, 2);
  record.crc = Number(directory, offset + 16, 4);
  record.packed_bytes = Number(directory, offset + 20, 4);
  record.unpacked_bytes = Number(directory, offset + 24, 4);
  record.header_offset = Number(directory, offset + 42, 4);
  FEDLB_RETURN_IF_ERROR(ReadZip64Fields(
      directory.substr(name + name_bytes, extra_bytes), record));
  offset = name + name_bytes + extra_bytes + comment_bytes;
  return record;
}

struct Unpacked {
  uint64_t crc = 0;
  uint64_t bytes = 0;
  bool whole = false;
};

// Inflates `data` in blocks and stops once there is more than `limit`.
Unpacked Inflate(absl::string_view data, uint64_t limit) {
  constexpr size_t kMaxInput = 1 << 30;  // zlib counts in 32 bits
  std::array<Bytef, 64 << 10> block;
  Unpacked result;
  z_stream stream = {};
  // Negative: no header of zlib's own.
  if (inflateInit2(&stream, -15) != Z_OK) {
    return result;
  }
  int code = Z_OK;
  while (code == Z_OK && result.bytes <= limit) {
    if (stream.avail_in == 0) {
      const size_t count = std::min(data.size(), kMaxInput);
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
      stream.avail_in = static_cast<uInt>(count);
      data.remove_prefix(count);
    }
    stream.next_out = block.data();
    stream.avail_out = static_cast<uInt>(block.size());
    code = inflate(&stream, Z_NO_FLUSH);
    const size_t produced = block.size() - stream.avail_out;
    result.crc = crc32_z(result.crc, block.data(), produced);
    result.bytes += produced;
  }
  inflateEnd(&stream);
  result.whole = code == Z_STREAM_END;
  return result;
}

absl::Status CheckRecord(absl::string_view bytes, const Record& record) {
  if (!Begins(bytes, record.header_offset, kLocalHeaderBytes, kLocalHeader)) {
    return Damaged(absl::StrCat(record.name, " is not where it should be"));
  }
  const uint64_t data = record.header_offset + kLocalHeaderBytes +
                        Number(bytes, record.header_offset + 26, 2) +
                        Number(bytes, record.header_offset + 28, 2);
  if (!Holds(bytes, data, record.packed_bytes)) {
    return Damaged(absl::StrCat(record.name, " is cut off"));
  }
  const absl::string_view packed = bytes.substr(data, record.packed_bytes);
  Unpacked unpacked;
  if (record.method == kStored) {
    unpacked = {crc32_z(0, reinterpret_cast<const Bytef*>(packed.data()),
                        packed.size()),
                packed.size(), true};
  } else if (record.method == kDeflated) {
    unpacked = Inflate(packed, record.unpacked_bytes);
  } else {
    return Damaged(absl::StrCat(record.name, " is packed by the method ",
                                record.method, ", which nobody uses here"));
  }
  if (!unpacked.whole || unpacked.bytes != record.unpacked_bytes) {
    return Damaged(absl::StrCat(record.name, " has not the length it states"));
  }
  if (unpacked.crc != record.crc) {
    return Damaged(absl::StrCat(record.name, " has not the CRC-32 it states"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<std::string>> CheckZipArchive(
    absl::string_view bytes) {
  if (!Begins(bytes, 0, 4, kLocalHeader)) {
    return absl::DataLossError("it is no zip archive");
  }
  FEDLB_ASSIGN_OR_RETURN(const Directory directory, FindDirectory(bytes));
  if (!Holds(bytes, directory.offset, directory.bytes)) {
    return Damaged("its directory does not lie within it");
  }
  const absl::string_view entries =
      bytes.substr(directory.offset, directory.bytes);
  std::vector<std::string> names;
  uint64_t offset = 0;
  for (uint64_t i = 0; i < directory.entries; ++i) {
    FEDLB_ASSIGN_OR_RETURN(Record record, ReadEntry(entries, offset));
    FEDLB_RETURN_IF_ERROR(CheckRecord(bytes, record));
    names.push_back(std::move(record.name));
  }
  return names;
}

}  // namespace fedlb::torchscript
