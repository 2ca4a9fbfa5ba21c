// PNG by libpng. Errors leave the library by longjmp, under the same rule as in
// jpeg_image.cc: only trivial objects between there and setjmp.

#include <png.h>

#include <csetjmp>
#include <cstddef>
#include <cstdio>
#include <cstring>

#include <utility>

#include "absl/strings/str_cat.h"
#include "data/encoded_image.h"
#include "fedlb/status.h"

namespace fedlb::data {
namespace {

// Everything that the C code touches. Trivial on purpose.
struct Session {
  png_structp png;
  png_infop info;
  const uint8_t* next;
  size_t left;
  std::jmp_buf on_error;
  int64_t num_warnings;
  char message[128];  // of the fatal error
  char warning[128];  // the first one
};

[[noreturn]] void LeaveWithError(png_structp png, png_const_charp message) {
  auto& session = *static_cast<Session*>(png_get_error_ptr(png));
  std::snprintf(session.message, sizeof(session.message), "%s", message);
  std::longjmp(session.on_error, 1);
}

// Of no account: remarks on colour profiles and texts, which are not used.
void IgnoreWarning(png_structp /*png*/, png_const_charp /*message*/) {}

void ReadBytes(png_structp png, png_bytep out, size_t count) {
  auto& session = *static_cast<Session*>(png_get_io_ptr(png));
  if (count > session.left) {
    png_error(png, "the file ends early");
  }
  std::memcpy(out, session.next, count);
  session.next += count;
  session.left -= count;
}

// Whether `body`, C code on `session` alone, ran to its end.
template <typename Body>
bool Run(Session& session, const Body& body) {
  if (setjmp(session.on_error) != 0) {
    return false;
  }
  body(session);
  return true;
}

bool ReadHeader(Session& session) {
  return Run(session, [](Session& s) {
    s.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &s, LeaveWithError,
                                   IgnoreWarning);
    s.info = s.png == nullptr ? nullptr : png_create_info_struct(s.png);
    if (s.info == nullptr) {
      std::snprintf(s.message, sizeof(s.message), "out of memory");
      std::longjmp(s.on_error, 1);
    }
    png_set_read_fn(s.png, &s, ReadBytes);
    // Texts and profiles may unpack to a thousand times their size.
    png_set_keep_unknown_chunks(s.png, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
    png_set_chunk_cache_max(s.png, 16);
    png_set_chunk_malloc_max(s.png, 4 << 20);
    png_read_info(s.png, s.info);
  });
}

bool ReadPixels(Session& session, uint8_t* out, size_t row_bytes) {
  return Run(session, [out, row_bytes](Session& s) {
    png_set_expand(s.png);    // palettes, and 1, 2 and 4 bits
    png_set_scale_16(s.png);  // rounded, not cut
    png_set_strip_alpha(s.png);
    png_set_gray_to_rgb(s.png);
    const int passes = png_set_interlace_handling(s.png);
    png_read_update_info(s.png, s.info);
    if (png_get_rowbytes(s.png, s.info) != row_bytes) {
      png_error(s.png, "unknown arrangement of colours");
    }
    const png_uint_32 height = png_get_image_height(s.png, s.info);
    for (int pass = 0; pass < passes; ++pass) {
      for (png_uint_32 y = 0; y < height; ++y) {
        png_read_row(s.png, out + y * row_bytes, nullptr);
      }
    }
  });
}

bool ReadEnd(Session& session) {
  return Run(session, [](Session& s) { png_read_end(s.png, nullptr); });
}

class PngImage final : public EncodedImage {
 public:
  PngImage() : session_(std::make_unique<Session>()) {}
  ~PngImage() override {
    png_destroy_read_struct(&session_->png, &session_->info, nullptr);
  }

  absl::Status ReadHeaders(absl::Span<const uint8_t> content) {
    Session& s = *session_;
    s.next = content.data();
    s.left = content.size();
    if (!ReadHeader(s)) {
      return Fault();
    }
    width_ = static_cast<int64_t>(png_get_image_width(s.png, s.info));
    height_ = static_cast<int64_t>(png_get_image_height(s.png, s.info));
    return CheckImageSize(width_, height_);
  }

  absl::Status Decode(absl::Span<uint8_t> out) override {
    Session& s = *session_;
    if (!ReadPixels(s, out.data(), static_cast<size_t>(3 * width_))) {
      return Fault();
    }
    if (!ReadEnd(s)) {
      // The picture is complete, and something after it is not.
      ++s.num_warnings;
      std::snprintf(s.warning, sizeof(s.warning), "%s", s.message);
    }
    return absl::OkStatus();
  }

  int64_t num_warnings() const override { return session_->num_warnings; }
  std::string first_warning() const override { return session_->warning; }

 private:
  absl::Status Fault() const {
    return InputFileError(
        absl::StrCat("cannot be decoded as PNG: ", session_->message));
  }

  // At one address, which the library keeps. All zero at first.
  const std::unique_ptr<Session> session_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<EncodedImage>> OpenPng(
    absl::Span<const uint8_t> content) {
  auto image = std::make_unique<PngImage>();
  FEDLB_RETURN_IF_ERROR(image->ReadHeaders(content));
  return std::unique_ptr<EncodedImage>(std::move(image));
}

}  // namespace fedlb::data
