// Makes square pictures of one size out of any.

#ifndef FEDLB_DATA_IMAGE_RESIZE_H_
#define FEDLB_DATA_IMAGE_RESIZE_H_

#include <cstdint>

#include "absl/types/span.h"

namespace fedlb::data {

// Scales an image so that its shorter side has `size` pixels, and cuts the
// middle out of the longer one. Bilinear, with a filter that widens with the
// reduction so that detail is averaged and not skipped. The usual preparation
// of photographs for evaluation.
//
// `rgb` has 3 * width * height bytes, pixel by pixel; the result 3 * size *
// size, channel by channel.
void ResizeToSquare(absl::Span<const uint8_t> rgb, int64_t width,
                    int64_t height, int64_t size, uint8_t* out);

}  // namespace fedlb::data

#endif  // FEDLB_DATA_IMAGE_RESIZE_H_
