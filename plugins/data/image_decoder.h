// From the bytes of a picture's file to pixels of a fixed size.

#ifndef FEDLB_DATA_IMAGE_DECODER_H_
#define FEDLB_DATA_IMAGE_DECODER_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"

namespace fedlb::data {

// Used by many threads at once. Of images that take much memory to decode one
// is decoded at a time, however many threads there are.
class ImageDecoder {
 public:
  // For images of [3, size, size].
  explicit ImageDecoder(int64_t size) : size_(size) {}

  int64_t image_bytes() const { return 3 * size_ * size_; }

  // Writes image_bytes() to `out`: red, green and blue, scaled and cut to a
  // square (image_resize.h). The format is told by the content. Returns what
  // the decoder complained of, or an empty string for a sound file.
  //
  // kDataLoss (kInputFile): no JPEG or PNG, damaged beyond use, or over
  // kMaxImagePixels.
  absl::StatusOr<std::string> Decode(absl::Span<const uint8_t> content,
                                     uint8_t* out) const;

 private:
  const int64_t size_;
  mutable absl::Mutex large_images_;
};

}  // namespace fedlb::data

#endif  // FEDLB_DATA_IMAGE_DECODER_H_
