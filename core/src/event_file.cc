#include "event_file.h"

#include <array>
#include <bit>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "fedlb/status.h"
#include "posix_file.h"

namespace fedlb {
namespace {

// The length and its checksum; behind the payload its own checksum follows.
constexpr int64_t kHeaderBytes = 12;
constexpr int64_t kFooterBytes = 4;
// Records of this program have a few hundred bytes. A longer one is damage.
constexpr uint64_t kMaxPayloadBytes = 16 << 20;

// A byte at a time, least significant bit first.
constexpr std::array<uint32_t, 256> MakeCrcTable() {
  constexpr uint32_t kReversedPolynomial = 0x82f63b78;
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < table.size(); ++byte) {
    uint32_t remainder = byte;
    for (int bit = 0; bit < 8; ++bit) {
      remainder =
          (remainder >> 1) ^ ((remainder & 1) != 0 ? kReversedPolynomial : 0);
    }
    table[byte] = remainder;
  }
  return table;
}

// TFRecord stores checksums rotated and shifted by a constant, so that the
// checksum of data that itself ends in checksums does not degenerate.
uint32_t MaskedCrc(absl::string_view bytes) {
  return std::rotr(Crc32c(bytes), 15) + 0xa282ead8U;
}

template <typename Integer>
void AppendLittleEndian(Integer value, std::string& out) {
  for (size_t i = 0; i < sizeof(value); ++i) {
    out += static_cast<char>(value >> (8 * i) & 0xff);
  }
}

uint64_t LittleEndian(absl::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = bytes.size(); i > 0; --i) {
    value = value << 8 | static_cast<unsigned char>(bytes[i - 1]);
  }
  return value;
}

// Protocol buffers, "Encoding": a field is a key (number << 3 | wire type) and
// a value.
enum WireType { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

void AppendVarint(uint64_t value, std::string& out) {
  while (value >= 0x80) {
    out += static_cast<char>(value | 0x80);
    value >>= 7;
  }
  out += static_cast<char>(value);
}

void AppendKey(int field, WireType type, std::string& out) {
  AppendVarint(static_cast<uint64_t>(field) << 3 | type, out);
}

void AppendBytes(int field, absl::string_view bytes, std::string& out) {
  AppendKey(field, kBytes, out);
  AppendVarint(bytes.size(), out);
  absl::StrAppend(&out, bytes);
}

// Event.wall_time = 1 and Event.step = 2, which is left out where it is 0.
std::string EventOf(double wall_time, int64_t step) {
  std::string event;
  AppendKey(1, kFixed64, event);
  AppendLittleEndian(std::bit_cast<uint64_t>(wall_time), event);
  if (step != 0) {
    AppendKey(2, kVarint, event);
    AppendVarint(static_cast<uint64_t>(step), event);
  }
  return event;
}

std::string Record(absl::string_view payload) {
  std::string record;
  AppendLittleEndian<uint64_t>(payload.size(), record);
  AppendLittleEndian(MaskedCrc(record), record);
  absl::StrAppend(&record, payload);
  AppendLittleEndian(MaskedCrc(payload), record);
  return record;
}

}  // namespace

uint32_t Crc32c(absl::string_view bytes) {
  static constexpr std::array<uint32_t, 256> kTable = MakeCrcTable();
  uint32_t crc = ~0U;
  for (const char byte : bytes) {
    crc = kTable[(crc ^ static_cast<unsigned char>(byte)) & 0xff] ^ crc >> 8;
  }
  return ~crc;
}

std::string FileVersionRecord(double wall_time) {
  std::string event = EventOf(wall_time, /*step=*/0);
  AppendBytes(/*Event.file_version=*/3, "brain.Event:2", event);
  return Record(event);
}

std::string ScalarsRecord(double wall_time, int64_t step,
                          const ScalarMap& scalars) {
  std::string summary;
  for (const auto& [name, number] : scalars) {
    if (!std::isfinite(number)) {
      continue;
    }
    std::string value;
    AppendBytes(/*Summary.Value.tag=*/1, name, value);
    AppendKey(/*Summary.Value.simple_value=*/2, kFixed32, value);
    AppendLittleEndian(std::bit_cast<uint32_t>(static_cast<float>(number)),
                       value);
    AppendBytes(/*Summary.value=*/1, value, summary);
  }
  std::string event = EventOf(wall_time, step);
  AppendBytes(/*Event.summary=*/5, summary, event);
  return Record(event);
}

absl::StatusOr<int64_t> LengthOfWholeRecords(int fd, int64_t size,
                                             const std::string& path) {
  const auto read = [&](int64_t offset, int64_t count, std::string& bytes) {
    bytes.resize(static_cast<size_t>(count));
    return ReadAt(fd, offset, bytes);
  };
  int64_t length = 0;
  std::string bytes;
  while (size - length >= kHeaderBytes + kFooterBytes) {
    if (!read(length, kHeaderBytes, bytes)) {
      return StorageError(
          absl::StrCat("cannot read ", path, ": ", SystemError()));
    }
    const absl::string_view header = bytes;
    const uint64_t payload = LittleEndian(header.substr(0, 8));
    if (LittleEndian(header.substr(8)) != MaskedCrc(header.substr(0, 8)) ||
        payload > kMaxPayloadBytes) {
      break;
    }
    const int64_t rest = static_cast<int64_t>(payload) + kFooterBytes;
    if (size - length - kHeaderBytes < rest) {
      break;
    }
    if (!read(length + kHeaderBytes, rest, bytes)) {
      return StorageError(
          absl::StrCat("cannot read ", path, ": ", SystemError()));
    }
    const absl::string_view body = bytes;
    if (LittleEndian(body.substr(payload)) !=
        MaskedCrc(body.substr(0, payload))) {
      break;
    }
    length += kHeaderBytes + rest;
  }
  return length;
}

}  // namespace fedlb
