// JPEG by libjpeg-turbo.
//
// The library reports a fatal error by a function that must not return, and
// longjmp is the way out that C code allows. It runs no destructors, so every
// function here that calls setjmp has only trivial objects, and so do those
// that it calls; memory and statuses belong to their callers.

#include <csetjmp>
#include <cstddef>
#include <cstdio>

#include <jpeglib.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "data/encoded_image.h"
#include "fedlb/status.h"

namespace fedlb::data {
namespace {

// A progressive file keeps its coefficients in memory until the last scan: 3
// bytes a pixel where chroma is halved both ways, as in most photographs.
constexpr long kMaxCoefficientBytes = 192L << 20;
// Encoders write about ten. Each one costs a pass over the whole image, however
// little it contains.
constexpr int kMaxScans = 100;

// Everything that the C code touches. Trivial on purpose.
struct Session {
  jpeg_decompress_struct info;
  jpeg_error_mgr errors;
  jpeg_progress_mgr progress;
  std::jmp_buf on_error;
  bool too_many_scans;
  char message[JMSG_LENGTH_MAX];  // of the fatal error
  char warning[JMSG_LENGTH_MAX];  // the first one
};

Session& SessionOf(j_common_ptr info) {
  return *static_cast<Session*>(info->client_data);
}

[[noreturn]] void LeaveWithError(j_common_ptr info) {
  Session& session = SessionOf(info);
  if (!session.too_many_scans) {
    session.errors.format_message(info, session.message);
  }
  std::longjmp(session.on_error, 1);
}

// Levels of 0 and more are for tracing.
void CountWarning(j_common_ptr info, int level) {
  if (level >= 0) {
    return;
  }
  Session& session = SessionOf(info);
  if (session.errors.num_warnings == 0) {
    session.errors.format_message(info, session.warning);
  }
  ++session.errors.num_warnings;
}

void LimitScans(j_common_ptr info) {
  Session& session = SessionOf(info);
  if (session.info.input_scan_number > kMaxScans) {
    session.too_many_scans = true;
    std::snprintf(session.message, sizeof(session.message),
                  "more than %d scans", kMaxScans);
    LeaveWithError(info);
  }
}

void IgnoreMessage(j_common_ptr /*info*/) {}

// Whether `body`, C code on `session` alone, ran to its end.
template <typename Body>
bool Run(Session& session, const Body& body) {
  if (setjmp(session.on_error) != 0) {
    return false;
  }
  body(session);
  return true;
}

bool ReadHeader(Session& session, absl::Span<const uint8_t> content) {
  return Run(session, [&content](Session& s) {
    jpeg_create_decompress(&s.info);
    s.info.client_data = &s;
    s.info.progress = &s.progress;
    s.info.mem->max_memory_to_use = kMaxCoefficientBytes;
    jpeg_mem_src(&s.info, content.data(),
                 static_cast<unsigned long>(content.size()));
    jpeg_read_header(&s.info, TRUE);
  });
}

bool ChooseOutput(Session& session, int64_t min_side) {
  return Run(session, [min_side](Session& s) {
    const auto shorter =
        static_cast<int64_t>(std::min(s.info.image_width, s.info.image_height));
    s.info.scale_num = 1;
    s.info.scale_denom = 1;
    for (const unsigned int denominator : {2U, 4U, 8U}) {
      if (shorter / denominator >= min_side) {
        s.info.scale_denom = denominator;
      }
    }
    const bool is_cmyk = s.info.jpeg_color_space == JCS_CMYK ||
                         s.info.jpeg_color_space == JCS_YCCK;
    s.info.out_color_space = is_cmyk ? JCS_CMYK : JCS_RGB;
    jpeg_calc_output_dimensions(&s.info);
  });
}

// Memory for the coefficients of a file that comes in several scans.
int64_t CoefficientBytes(const jpeg_decompress_struct& info) {
  int64_t blocks = 0;
  for (int i = 0; i < info.num_components; ++i) {
    blocks += static_cast<int64_t>(info.comp_info[i].width_in_blocks) *
              static_cast<int64_t>(info.comp_info[i].height_in_blocks);
  }
  return blocks * int64_t{sizeof(JBLOCK)};
}

// Ink to light. Files with Adobe's marker, which is nearly all of them, store
// the inks inverted.
void ConvertCmyk(const uint8_t* in, int64_t width, bool is_inverted,
                 uint8_t* out) {
  for (int64_t x = 0; x < width; ++x, in += 4, out += 3) {
    for (int c = 0; c < 3; ++c) {
      const int ink = is_inverted ? in[c] : 255 - in[c];
      const int black = is_inverted ? in[3] : 255 - in[3];
      out[c] = static_cast<uint8_t>((ink * black + 127) / 255);
    }
  }
}

// `cmyk_row` is one row of four bytes a pixel where the file has that.
bool ReadPixels(Session& session, uint8_t* out, uint8_t* cmyk_row) {
  return Run(session, [out, cmyk_row](Session& s) {
    jpeg_start_decompress(&s.info);
    const auto width = static_cast<int64_t>(s.info.output_width);
    while (s.info.output_scanline < s.info.output_height) {
      uint8_t* row = out + 3 * width * s.info.output_scanline;
      JSAMPROW target = cmyk_row != nullptr ? cmyk_row : row;
      jpeg_read_scanlines(&s.info, &target, 1);
      if (cmyk_row != nullptr) {
        ConvertCmyk(cmyk_row, width, s.info.saw_Adobe_marker != FALSE, row);
      }
    }
    // Reads up to the end marker, and misses it where the file is cut off.
    jpeg_finish_decompress(&s.info);
  });
}

class JpegImage final : public EncodedImage {
 public:
  JpegImage() : session_(std::make_unique<Session>()) {
    Session& s = *session_;
    s.info.client_data = &s;
    s.info.err = jpeg_std_error(&s.errors);
    s.errors.error_exit = LeaveWithError;
    s.errors.emit_message = CountWarning;
    s.errors.output_message = IgnoreMessage;
    s.progress.progress_monitor = LimitScans;
  }
  ~JpegImage() override { jpeg_destroy_decompress(&session_->info); }

  absl::Status ReadHeaders(absl::Span<const uint8_t> content,
                           int64_t min_side) {
    Session& s = *session_;
    if (!ReadHeader(s, content)) {
      return Fault();
    }
    FEDLB_RETURN_IF_ERROR(
        CheckImageSize(static_cast<int64_t>(s.info.image_width),
                       static_cast<int64_t>(s.info.image_height)));
    if (!ChooseOutput(s, min_side)) {
      return Fault();
    }
    width_ = static_cast<int64_t>(s.info.output_width);
    height_ = static_cast<int64_t>(s.info.output_height);
    if (jpeg_has_multiple_scans(&s.info) != FALSE) {
      working_bytes_ = CoefficientBytes(s.info);
    }
    if (working_bytes_ > kMaxCoefficientBytes) {
      return InputFileError(absl::StrCat(
          "its progressive coding takes ", working_bytes_ >> 20,
          " MiB to decode, and the limit is ", kMaxCoefficientBytes >> 20,
          "; store it as baseline JPEG"));
    }
    return absl::OkStatus();
  }

  absl::Status Decode(absl::Span<uint8_t> out) override {
    std::vector<uint8_t> cmyk_row;
    if (session_->info.out_color_space == JCS_CMYK) {
      cmyk_row.resize(static_cast<size_t>(4 * width_));
    }
    if (!ReadPixels(*session_, out.data(),
                    cmyk_row.empty() ? nullptr : cmyk_row.data())) {
      return Fault();
    }
    return absl::OkStatus();
  }

  int64_t num_warnings() const override {
    return session_->errors.num_warnings;
  }
  std::string first_warning() const override { return session_->warning; }

 private:
  absl::Status Fault() const {
    return InputFileError(
        absl::StrCat("cannot be decoded as JPEG: ", session_->message));
  }

  // At one address, since the C structs point at each other. All zero at first.
  const std::unique_ptr<Session> session_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<EncodedImage>> OpenJpeg(
    absl::Span<const uint8_t> content, int64_t min_side) {
  auto image = std::make_unique<JpegImage>();
  FEDLB_RETURN_IF_ERROR(image->ReadHeaders(content, min_side));
  return std::unique_ptr<EncodedImage>(std::move(image));
}

absl::Status CheckImageSize(int64_t width, int64_t height) {
  if (width * height > kMaxImagePixels) {
    return InputFileError(absl::StrCat(width, " x ", height,
                                       " pixels, and the limit is ",
                                       kMaxImagePixels, " in all"));
  }
  return absl::OkStatus();
}

}  // namespace fedlb::data
