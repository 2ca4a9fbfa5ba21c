#include "data/image_decoder.h"

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "data/encoded_image.h"
#include "data/image_resize.h"
#include "fedlb/status.h"

namespace fedlb::data {
namespace {

// Images that take more than this are decoded one at a time.
constexpr int64_t kLargeBytes = 16 << 20;

bool StartsWith(absl::Span<const uint8_t> content,
                std::initializer_list<uint8_t> start) {
  return content.size() >= start.size() &&
         std::equal(start.begin(), start.end(), content.begin());
}

absl::StatusOr<std::unique_ptr<EncodedImage>> Open(
    absl::Span<const uint8_t> content, int64_t min_side) {
  if (StartsWith(content, {0xff, 0xd8})) {
    return OpenJpeg(content, min_side);
  }
  if (StartsWith(content, {0x89, 'P', 'N', 'G'})) {
    return OpenPng(content);
  }
  if (content.empty()) {
    return InputFileError("the file is empty");
  }
  std::string start;
  for (const uint8_t byte :
       content.first(std::min<size_t>(4, content.size()))) {
    absl::StrAppendFormat(&start, " %02x", byte);
  }
  return InputFileError(absl::StrCat(
      "neither JPEG nor PNG, whatever its name says: it starts with", start));
}

}  // namespace

absl::StatusOr<std::string> ImageDecoder::Decode(
    absl::Span<const uint8_t> content, uint8_t* out) const {
  FEDLB_ASSIGN_OR_RETURN(const std::unique_ptr<EncodedImage> image,
                         Open(content, size_));
  const int64_t bytes = 3 * image->width() * image->height();
  absl::MutexLockMaybe lock(
      bytes + image->working_bytes() > kLargeBytes ? &large_images_ : nullptr);
  std::vector<uint8_t> pixels(static_cast<size_t>(bytes));
  FEDLB_RETURN_IF_ERROR(image->Decode(absl::MakeSpan(pixels)));
  ResizeToSquare(pixels, image->width(), image->height(), size_, out);
  if (image->num_warnings() == 0) {
    return std::string();
  }
  return absl::StrCat(image->first_warning(), " (", image->num_warnings(),
                      image->num_warnings() == 1 ? " warning)" : " warnings)");
}

}  // namespace fedlb::data
