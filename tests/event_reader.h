// Reads TensorBoard's event files, strictly: whatever the format does not allow
// or the program has no reason to write is an error.
//
// Shares no code with the writer; the checksum goes bit by bit where the writer
// has a table.

#ifndef FEDLB_TESTS_EVENT_READER_H_
#define FEDLB_TESTS_EVENT_READER_H_

#include <cstdint>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace fedlb {

struct ReadEvent {
  double wall_time = 0;
  int64_t step = 0;
  std::string file_version;
  std::map<std::string, float> scalars;
};

class EventReader {
 public:
  // Throws std::runtime_error.
  static std::vector<ReadEvent> ReadAll(const std::string& bytes) {
    std::vector<ReadEvent> events;
    EventReader reader(bytes);
    while (reader.at_ < reader.bytes_.size()) {
      const std::string length = reader.Take(8);
      reader.ExpectCrc(length);
      const std::string payload = reader.Take(Unsigned(length));
      reader.ExpectCrc(payload);
      events.push_back(EventReader(payload).Event());
    }
    return events;
  }

 private:
  explicit EventReader(const std::string& bytes) : bytes_(bytes) {}

  static void Require(bool condition, const char* what) {
    if (!condition) {
      throw std::runtime_error(std::string("event file: ") + what);
    }
  }

  std::string Take(uint64_t count) {
    Require(count <= bytes_.size() - at_, "ends within a field");
    at_ += count;
    return bytes_.substr(at_ - count, count);
  }

  static uint64_t Unsigned(const std::string& little_endian) {
    uint64_t value = 0;
    for (size_t i = 0; i < little_endian.size(); ++i) {
      value |= uint64_t{static_cast<unsigned char>(little_endian[i])} << 8 * i;
    }
    return value;
  }

  void ExpectCrc(const std::string& data) {
    uint32_t crc = 0xffffffff;
    for (const char byte : data) {
      crc ^= static_cast<unsigned char>(byte);
      for (int bit = 0; bit < 8; ++bit) {
        const uint32_t low = crc & 1;
        crc >>= 1;
        crc = low == 1 ? crc ^ 0x82f63b78 : crc;
      }
    }
    crc ^= 0xffffffff;
    const uint32_t masked = (crc >> 15 | crc << 17) + 0xa282ead8;
    Require(Unsigned(Take(4)) == masked, "a checksum differs");
  }

  uint64_t Varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(Take(1)[0]);
      value |= uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) {
        return value;
      }
    }
    throw std::runtime_error("event file: a number without end");
  }

  template <typename Float>
  Float Fixed() {
    const std::string bytes = Take(sizeof(Float));
    Float value;
    std::memcpy(&value, bytes.data(), sizeof(value));
    return value;
  }

  ReadEvent Event() {
    ReadEvent event;
    while (at_ < bytes_.size()) {
      switch (Varint()) {
        case 1 << 3 | 1:
          event.wall_time = Fixed<double>();
          break;
        case 2 << 3 | 0:
          event.step = static_cast<int64_t>(Varint());
          break;
        case 3 << 3 | 2:
          event.file_version = Take(Varint());
          break;
        case 5 << 3 | 2:
          EventReader(Take(Varint())).Summary(event);
          break;
        default:
          Require(false, "a field that scalars do not need");
      }
    }
    return event;
  }

  void Summary(ReadEvent& event) {
    while (at_ < bytes_.size()) {
      Require(Varint() == (1 << 3 | 2), "a summary of something else");
      EventReader value(Take(Varint()));
      Require(value.Varint() == (1 << 3 | 2), "a value without a tag");
      const std::string tag = value.Take(value.Varint());
      Require(value.Varint() == (2 << 3 | 5), "a value without a number");
      Require(event.scalars.emplace(tag, value.Fixed<float>()).second,
              "a tag twice");
      Require(value.at_ == value.bytes_.size(), "a value with more");
    }
  }

  // Owned: a part is read from a temporary string.
  const std::string bytes_;
  size_t at_ = 0;
};

}  // namespace fedlb

#endif  // FEDLB_TESTS_EVENT_READER_H_
