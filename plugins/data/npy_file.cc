#include "data/npy_file.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "data/input_file.h"
#include "fedlb/status.h"

namespace fedlb::data {
namespace {

constexpr absl::string_view kMagic("\x93NUMPY", 6);
constexpr size_t kMaxDims = 8;

absl::Status FaultAt(int64_t offset, absl::string_view cause) {
  return InputFileError(absl::StrCat("at byte ", offset, ": ", cause));
}

// Reads the literal of a Python dictionary with the three keys of the format.
class HeaderParser {
 public:
  // `offset` is where `text` starts in the file.
  HeaderParser(absl::string_view text, int64_t offset)
      : text_(text), offset_(offset) {}

  absl::Status Parse(NpyHeader& header) {
    FEDLB_RETURN_IF_ERROR(Expect('{'));
    bool has_type = false;
    bool has_order = false;
    bool has_shape = false;
    while (!Accept('}')) {
      FEDLB_ASSIGN_OR_RETURN(const std::string key, ParseString());
      FEDLB_RETURN_IF_ERROR(Expect(':'));
      if (key == "descr" && !has_type) {
        has_type = true;
        FEDLB_RETURN_IF_ERROR(ParseType(header));
      } else if (key == "fortran_order" && !has_order) {
        has_order = true;
        FEDLB_RETURN_IF_ERROR(ParseOrder());
      } else if (key == "shape" && !has_shape) {
        has_shape = true;
        FEDLB_RETURN_IF_ERROR(ParseShape(header));
      } else {
        return Fault(absl::StrCat("key \"", ShownPath(key),
                                  "\" is unknown or there twice"));
      }
      if (!Accept(',')) {
        FEDLB_RETURN_IF_ERROR(Expect('}'));
        break;
      }
    }
    if (!has_type || !has_order || !has_shape) {
      return Fault("the header lacks descr, fortran_order or shape");
    }
    SkipSpace();
    return at_ == text_.size()
               ? absl::OkStatus()
               : Fault("text follows the dictionary of the header");
  }

 private:
  absl::Status Fault(absl::string_view cause) const {
    return FaultAt(offset_ + static_cast<int64_t>(at_),
                   absl::StrCat(cause, "; save the array again with np.save"));
  }

  void SkipSpace() {
    while (at_ < text_.size() &&
           absl::ascii_isspace(static_cast<unsigned char>(text_[at_]))) {
      ++at_;
    }
  }

  bool Accept(char c) {
    SkipSpace();
    if (at_ < text_.size() && text_[at_] == c) {
      ++at_;
      return true;
    }
    return false;
  }

  absl::Status Expect(char c) {
    return Accept(c) ? absl::OkStatus()
                     : Fault(absl::StrCat("the header has no ",
                                          absl::string_view(&c, 1), " here"));
  }

  absl::StatusOr<std::string> ParseString() {
    SkipSpace();
    if (at_ == text_.size() || (text_[at_] != '\'' && text_[at_] != '"')) {
      return Fault("the header has no string here");
    }
    const char quote = text_[at_];
    const size_t end = text_.find(quote, at_ + 1);
    const absl::string_view inside = text_.substr(
        at_ + 1, end == absl::string_view::npos ? absl::string_view::npos
                                                : end - at_ - 1);
    if (end == absl::string_view::npos || absl::StrContains(inside, '\\')) {
      return Fault("a string of the header has no end or an escape in it");
    }
    at_ = end + 1;
    return std::string(inside);
  }

  absl::Status ParseType(NpyHeader& header) {
    SkipSpace();
    if (at_ < text_.size() && text_[at_] == '[') {
      return Fault("structured arrays are not supported");
    }
    FEDLB_ASSIGN_OR_RETURN(header.type, ParseString());
    constexpr absl::string_view kTypes[] = {"|u1", "|i1", "<u2", "<i2",
                                            "<f2", "<u4", "<i4", "<f4",
                                            "<u8", "<i8", "<f8"};
    if (std::find(std::begin(kTypes), std::end(kTypes), header.type) ==
        std::end(kTypes)) {
      const bool is_big_endian = absl::StartsWith(header.type, ">");
      return Fault(absl::StrCat(
          "type \"", ShownPath(header.type), "\" is not supported",
          is_big_endian ? "; its bytes are in big-endian order, convert it "
                          "with x.astype(x.dtype.newbyteorder('<'))"
                        : "; use uint8 or float32 for x, integers for y"));
    }
    header.element_bytes = header.type[2] - '0';
    return absl::OkStatus();
  }

  absl::Status ParseOrder() {
    SkipSpace();
    if (absl::StartsWith(text_.substr(at_), "False")) {
      at_ += 5;
      return absl::OkStatus();
    }
    if (absl::StartsWith(text_.substr(at_), "True")) {
      return Fault(
          "fortran_order: the array is stored column by column; apply "
          "np.ascontiguousarray first");
    }
    return Fault("fortran_order is neither True nor False");
  }

  absl::Status ParseShape(NpyHeader& header) {
    FEDLB_RETURN_IF_ERROR(Expect('('));
    while (!Accept(')')) {
      FEDLB_ASSIGN_OR_RETURN(const int64_t dim, ParseSize());
      header.shape.push_back(dim);
      if (header.shape.size() > kMaxDims) {
        return Fault(absl::StrCat("more than ", kMaxDims, " dimensions"));
      }
      if (!Accept(',')) {
        FEDLB_RETURN_IF_ERROR(Expect(')'));
        break;
      }
    }
    return absl::OkStatus();
  }

  absl::StatusOr<int64_t> ParseSize() {
    SkipSpace();
    const size_t start = at_;
    int64_t value = 0;
    while (at_ < text_.size() &&
           absl::ascii_isdigit(static_cast<unsigned char>(text_[at_]))) {
      if (__builtin_mul_overflow(value, 10, &value) ||
          __builtin_add_overflow(value, text_[at_] - '0', &value)) {
        return Fault("a dimension exceeds 2^63");
      }
      ++at_;
    }
    if (at_ == start) {
      return Fault("the shape is no tuple of numbers");
    }
    return value;
  }

  const absl::string_view text_;
  const int64_t offset_;
  size_t at_ = 0;
};

// Sets data_bytes. The product leaves zeros out, so that one cannot hide an
// absurd size.
absl::Status SetDataBytes(NpyHeader& header) {
  int64_t bytes = header.element_bytes;
  bool is_empty = false;
  for (const int64_t dim : header.shape) {
    is_empty = is_empty || dim == 0;
    if (dim != 0 && __builtin_mul_overflow(bytes, dim, &bytes)) {
      return FaultAt(0,
                     "the product of the shape exceeds 2^63 bytes; the header "
                     "is corrupt");
    }
  }
  header.data_bytes = is_empty ? 0 : bytes;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<NpyHeader> ParseNpyHeader(absl::Span<const uint8_t> head,
                                         int64_t file_bytes) {
  const absl::string_view bytes(reinterpret_cast<const char*>(head.data()),
                                head.size());
  if (!absl::StartsWith(bytes, kMagic) || bytes.size() < 10) {
    return FaultAt(0,
                   "not an NPY file: those start with 93 4e 55 4d 50 59 and a "
                   "header; save the array with np.save");
  }
  const uint8_t major = head[6];
  if (major != 1 && major != 2) {
    return FaultAt(6, absl::StrCat("version ", major,
                                   " of the format is not supported, only 1 "
                                   "and 2"));
  }
  const size_t length_bytes = major == 1 ? 2 : 4;
  const size_t start = 8 + length_bytes;
  if (head.size() < start) {
    return FaultAt(static_cast<int64_t>(head.size()),
                   "the file ends within its header");
  }
  uint64_t length = 0;
  for (size_t i = 0; i < length_bytes; ++i) {
    length |= uint64_t{head[8 + i]} << (8 * i);
  }
  if (length > head.size() - start) {
    return FaultAt(
        8, absl::StrCat("the header claims ", length,
                        " bytes, and there are at most ", head.size() - start,
                        "; the file is truncated or damaged"));
  }

  NpyHeader header;
  header.data_offset = static_cast<int64_t>(start + length);
  HeaderParser parser(bytes.substr(start, length), static_cast<int64_t>(start));
  FEDLB_RETURN_IF_ERROR(parser.Parse(header));
  FEDLB_RETURN_IF_ERROR(SetDataBytes(header));
  if (header.data_bytes != file_bytes - header.data_offset) {
    return FaultAt(header.data_offset,
                   absl::StrCat("the shape asks for ", header.data_bytes,
                                " bytes of data, and the file has ",
                                file_bytes - header.data_offset,
                                "; it is truncated or damaged, save it again"));
  }
  return header;
}

absl::StatusOr<NpyArray> ReadNpyFile(const std::string& path) {
  FEDLB_ASSIGN_OR_RETURN(const InputFile file, InputFile::Open(path));
  std::vector<uint8_t> head(
      static_cast<size_t>(std::min(file.size(), kMaxNpyHeaderBytes)));
  FEDLB_RETURN_IF_ERROR(file.Read(0, absl::MakeSpan(head)));
  absl::StatusOr<NpyHeader> header = ParseNpyHeader(head, file.size());
  if (!header.ok()) {
    return Annotate(header.status(), ShownPath(path));
  }
  NpyArray array{.header = *std::move(header)};
  array.bytes.resize(static_cast<size_t>(array.header.data_bytes));
  FEDLB_RETURN_IF_ERROR(
      file.Read(array.header.data_offset, absl::MakeSpan(array.bytes)));
  return array;
}

}  // namespace fedlb::data
