// A picture in a file's bytes, on its way to pixels.

#ifndef FEDLB_DATA_ENCODED_IMAGE_H_
#define FEDLB_DATA_ENCODED_IMAGE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace fedlb::data {

// Images of more pixels are refused before any memory is taken for them.
inline constexpr int64_t kMaxImagePixels = 50'000'000;

// Made of the header alone by OpenJpeg or OpenPng, so that its size can be
// judged before Decode takes memory. Used by one thread.
class EncodedImage {
 public:
  virtual ~EncodedImage() = default;

  // Size of what Decode writes.
  int64_t width() const { return width_; }
  int64_t height() const { return height_; }
  // Memory that Decode takes beside what it writes to.
  int64_t working_bytes() const { return working_bytes_; }

  // Writes 3 * width * height bytes: red, green and blue of each pixel, row by
  // row. Called once. Whatever the file's colours, alpha is dropped, not
  // blended.
  //
  // kDataLoss (kInputFile): the data is damaged beyond use. `out` holds
  // anything then.
  virtual absl::Status Decode(absl::Span<uint8_t> out) = 0;

  // What the decoder complained of and could get over, so far: missing data
  // that it has made up, for instance. The first one in words.
  virtual int64_t num_warnings() const = 0;
  virtual std::string first_warning() const = 0;

 protected:
  int64_t width_ = 0;
  int64_t height_ = 0;
  int64_t working_bytes_ = 0;
};

// The content must outlive the image. A JPEG is decoded at a half, a quarter or
// an eighth of its size when the shorter side then still has `min_side` pixels:
// that comes with the inverse cosine transform and saves most of the time.
//
// kDataLoss (kInputFile): not of that format, damaged, too large.
absl::StatusOr<std::unique_ptr<EncodedImage>> OpenJpeg(
    absl::Span<const uint8_t> content, int64_t min_side);
absl::StatusOr<std::unique_ptr<EncodedImage>> OpenPng(
    absl::Span<const uint8_t> content);

// kDataLoss (kInputFile) for more than kMaxImagePixels.
absl::Status CheckImageSize(int64_t width, int64_t height);

}  // namespace fedlb::data

#endif  // FEDLB_DATA_ENCODED_IMAGE_H_
