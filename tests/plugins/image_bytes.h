// Writes pictures with libjpeg and libpng, for tests of what reads them.

#ifndef FEDLB_TESTS_PLUGINS_IMAGE_BYTES_H_
#define FEDLB_TESTS_PLUGINS_IMAGE_BYTES_H_

#include <cstdint>
#include <string>
#include <vector>

namespace fedlb {

// Pixels of `channels` bytes each, row by row.
struct Picture {
  int64_t width = 0;
  int64_t height = 0;
  int channels = 3;
  std::vector<uint8_t> pixels;

  uint8_t& At(int64_t y, int64_t x, int c) {
    return pixels[static_cast<size_t>((y * width + x) * channels + c)];
  }
};

// Every pixel like the first ones of `color`.
Picture PlainPicture(int64_t width, int64_t height,
                     const std::vector<uint8_t>& color);
// Smooth, with other slopes in each channel.
Picture RampPicture(int64_t width, int64_t height, int channels = 3);
// What no coder can compress.
Picture NoisePicture(int64_t width, int64_t height, uint64_t seed);

struct JpegStyle {
  int quality = 95;
  bool progressive = false;
  bool full_chroma = true;  // else halved both ways
};
// Of 1 (gray), 3 (RGB) or 4 (inverted CMYK, with Adobe's marker) channels.
std::string JpegBytes(const Picture& picture, const JpegStyle& style = {});

struct PngStyle {
  bool interlaced = false;
  // With a channel, the picture holds indices of these colours (RGB).
  std::vector<uint8_t> palette;
  // Each value stands in the upper byte of 16 bits, and again in the lower one.
  bool deep = false;
};
// Of 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGB, alpha) channels.
std::string PngBytes(const Picture& picture, const PngStyle& style = {});

}  // namespace fedlb

#endif  // FEDLB_TESTS_PLUGINS_IMAGE_BYTES_H_
