// Any bytes as a JPEG: refused with a status, or decoded into as many bytes as
// its header says.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "data/encoded_image.h"
#include "data/image_resize.h"
#include "fuzz/edited_seed.h"
#include "plugins/image_bytes.h"

namespace {

// Larger ones take seconds, by design.
constexpr int64_t kMaxPixels = 1 << 20;
constexpr int64_t kSize = 16;

std::vector<std::string> MakeSeeds() {
  const fedlb::Picture picture = fedlb::RampPicture(70, 50);
  return {fedlb::JpegBytes(picture),
          fedlb::JpegBytes(picture, {.progressive = true}),
          fedlb::JpegBytes(picture, {.full_chroma = false}),
          fedlb::JpegBytes(fedlb::RampPicture(70, 50, 1)),
          fedlb::JpegBytes(fedlb::RampPicture(70, 50, 4))};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::vector<std::string>& seeds = *new auto(MakeSeeds());
  const std::string content = fedlb::EditedSeed(seeds, data, size);
  const auto image = fedlb::data::OpenJpeg(
      {reinterpret_cast<const uint8_t*>(content.data()), content.size()},
      kSize);
  if (!image.ok() || (*image)->width() * (*image)->height() > kMaxPixels) {
    return 0;
  }
  const int64_t width = (*image)->width();
  const int64_t height = (*image)->height();
  std::vector<uint8_t> pixels(static_cast<size_t>(3 * width * height));
  if ((*image)->Decode(absl::MakeSpan(pixels)).ok()) {
    std::vector<uint8_t> out(3 * kSize * kSize);
    fedlb::data::ResizeToSquare(pixels, width, height, kSize, out.data());
  }
  return 0;
}
