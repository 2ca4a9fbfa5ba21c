// Any bytes as a PNG: refused with a status, or decoded into as many bytes as
// its header says.

#include <zlib.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "data/encoded_image.h"
#include "fuzz/edited_seed.h"
#include "plugins/image_bytes.h"

namespace {

// Larger ones take seconds, by design.
constexpr int64_t kMaxPixels = 1 << 20;

std::vector<std::string> MakeSeeds() {
  return {fedlb::PngBytes(fedlb::RampPicture(30, 20)),
          fedlb::PngBytes(fedlb::RampPicture(30, 20, 4), {.interlaced = true}),
          fedlb::PngBytes(fedlb::RampPicture(30, 20, 2), {.deep = true}),
          fedlb::PngBytes(fedlb::PlainPicture(30, 20, {1}),
                          {.palette = {0, 0, 0, 255, 255, 255}})};
}

uint32_t BigEndianAt(const std::string& content, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) {
    value = value << 8 | static_cast<uint8_t>(content[at + i]);
  }
  return value;
}

// Makes the checksums of all chunks right, or nothing else would ever be read.
void FixChecksums(std::string& content) {
  constexpr size_t kSignature = 8;
  // A chunk is its length, its type, so many bytes and a checksum of both.
  for (size_t at = kSignature; at + 12 <= content.size();) {
    const size_t length = BigEndianAt(content, at);
    if (length > content.size() - at - 12) {
      return;
    }
    const auto* type = reinterpret_cast<const Bytef*>(content.data()) + at + 4;
    const uLong sum = crc32(0, type, static_cast<uInt>(4 + length));
    for (size_t i = 0; i < 4; ++i) {
      content[at + 8 + length + i] = static_cast<char>(sum >> (24 - 8 * i));
    }
    at += 12 + length;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::vector<std::string>& seeds = *new auto(MakeSeeds());
  std::string content = fedlb::EditedSeed(seeds, data, size);
  FixChecksums(content);
  const auto image = fedlb::data::OpenPng(
      {reinterpret_cast<const uint8_t*>(content.data()), content.size()});
  if (!image.ok() || (*image)->width() * (*image)->height() > kMaxPixels) {
    return 0;
  }
  std::vector<uint8_t> pixels(
      static_cast<size_t>(3 * (*image)->width() * (*image)->height()));
  (void)(*image)->Decode(absl::MakeSpan(pixels));
  return 0;
}
