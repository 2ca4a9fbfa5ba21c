#include "data/idx_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "fedlb/status.h"

namespace fedlb::data {
namespace {

constexpr size_t kBlockBytes = 256 << 10;
// Photographs shrink to a half, drawings to a tenth. Deflate cannot do better
// than 1:1032, so anything near that is made to exhaust memory.
constexpr int64_t kMaxGzipRatio = 200;
// Below this size a high ratio is innocent: 60,000 equal labels reach 600.
constexpr int64_t kAlwaysPlausibleBytes = 1 << 20;

// Bytes one after the other, out of a file, memory or a decompressor.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // Fills `out` from the front; fewer bytes than it holds mean the end.
  virtual absl::StatusOr<size_t> Read(absl::Span<uint8_t> out) = 0;
};

class FileSource final : public ByteSource {
 public:
  explicit FileSource(int fd) : fd_(fd) {}
  ~FileSource() override { close(fd_); }
  FileSource(const FileSource&) = delete;
  FileSource& operator=(const FileSource&) = delete;

  absl::StatusOr<size_t> Read(absl::Span<uint8_t> out) override {
    size_t filled = 0;
    while (filled < out.size()) {
      const ssize_t got = pread(fd_, out.data() + filled, out.size() - filled,
                                static_cast<off_t>(offset_));
      if (got < 0 && errno == EINTR) {
        continue;
      }
      if (got < 0) {
        return InputFileError(absl::StrCat("at byte ", offset_,
                                           ": cannot read: ", strerror(errno)));
      }
      if (got == 0) {
        break;
      }
      filled += static_cast<size_t>(got);
      offset_ += got;
    }
    return filled;
  }

 private:
  const int fd_;
  int64_t offset_ = 0;
};

class MemorySource final : public ByteSource {
 public:
  explicit MemorySource(absl::Span<const uint8_t> content) : rest_(content) {}

  absl::StatusOr<size_t> Read(absl::Span<uint8_t> out) override {
    const size_t count = std::min(out.size(), rest_.size());
    std::copy_n(rest_.begin(), count, out.begin());
    rest_.remove_prefix(count);
    return count;
  }

 private:
  absl::Span<const uint8_t> rest_;
};

// Unpacks gzip; members that follow each other count as one stream.
class GzipSource final : public ByteSource {
 public:
  // `head` holds what was read of `packed` already.
  static absl::StatusOr<std::unique_ptr<GzipSource>> Create(
      std::unique_ptr<ByteSource> packed, absl::Span<const uint8_t> head) {
    std::unique_ptr<GzipSource> source(new GzipSource(std::move(packed)));
    // 15 bits of window; 16 more ask for the gzip wrapper and its checksum.
    if (inflateInit2(&source->stream_, 15 + 16) != Z_OK) {
      return absl::ResourceExhaustedError("out of memory for decompression");
    }
    source->initialised_ = true;
    std::copy(head.begin(), head.end(), source->input_.begin());
    source->stream_.next_in = source->input_.data();
    source->stream_.avail_in = static_cast<uInt>(head.size());
    source->input_end_ = static_cast<int64_t>(head.size());
    return source;
  }

  ~GzipSource() override {
    if (initialised_) {
      inflateEnd(&stream_);
    }
  }
  GzipSource(const GzipSource&) = delete;
  GzipSource& operator=(const GzipSource&) = delete;

  absl::StatusOr<size_t> Read(absl::Span<uint8_t> out) override {
    size_t filled = 0;
    while (filled < out.size()) {
      if (stream_.avail_in == 0) {
        FEDLB_RETURN_IF_ERROR(Refill());
      }
      if (stream_.avail_in == 0) {
        if (in_member_) {
          return Fault("the gzip data ends early; the file is truncated");
        }
        break;
      }
      if (!in_member_) {
        FEDLB_RETURN_IF_ERROR(StartNextMember());
      }
      stream_.next_out = out.data() + filled;
      stream_.avail_out =
          static_cast<uInt>(std::min(out.size() - filled, kBlockBytes));
      const uInt asked = stream_.avail_out;
      const int result = inflate(&stream_, Z_NO_FLUSH);
      filled += asked - stream_.avail_out;
      if (result == Z_STREAM_END) {
        in_member_ = false;
      } else if (result != Z_OK && result != Z_BUF_ERROR) {
        return Fault(absl::StrCat(
            "the gzip data is corrupt (",
            stream_.msg != nullptr ? stream_.msg : "no details", ")"));
      }
    }
    return filled;
  }

 private:
  explicit GzipSource(std::unique_ptr<ByteSource> packed)
      : packed_(std::move(packed)), input_(kBlockBytes) {}

  absl::Status Refill() {
    FEDLB_ASSIGN_OR_RETURN(const size_t got,
                           packed_->Read(absl::MakeSpan(input_)));
    stream_.next_in = input_.data();
    stream_.avail_in = static_cast<uInt>(got);
    input_end_ += static_cast<int64_t>(got);
    return absl::OkStatus();
  }

  absl::Status StartNextMember() {
    if (*stream_.next_in != 0x1f) {
      return Fault("bytes follow the end of the gzip data");
    }
    inflateReset(&stream_);
    in_member_ = true;
    return absl::OkStatus();
  }

  absl::Status Fault(absl::string_view cause) const {
    return InputFileError(absl::StrCat("at compressed byte ",
                                       input_end_ - stream_.avail_in, ": ",
                                       cause, "; fetch the file again"));
  }

  const std::unique_ptr<ByteSource> packed_;
  std::vector<uint8_t> input_;
  int64_t input_end_ = 0;  // offset in `packed_` of the end of input_
  z_stream stream_{};
  bool initialised_ = false;
  bool in_member_ = true;
};

// Puts bytes that were read to look at them back in front of the rest.
class PeekedSource final : public ByteSource {
 public:
  PeekedSource(std::unique_ptr<ByteSource> rest, std::vector<uint8_t> head)
      : head_(std::move(head)), front_(head_), rest_(std::move(rest)) {}

  absl::StatusOr<size_t> Read(absl::Span<uint8_t> out) override {
    FEDLB_ASSIGN_OR_RETURN(const size_t first, front_.Read(out));
    FEDLB_ASSIGN_OR_RETURN(const size_t second,
                           rest_->Read(out.subspan(first)));
    return first + second;
  }

 private:
  const std::vector<uint8_t> head_;
  MemorySource front_;
  const std::unique_ptr<ByteSource> rest_;
};

// 0 for a code that is none.
int64_t ElementBytes(uint8_t type_code) {
  switch (static_cast<IdxType>(type_code)) {
    case IdxType::kUint8:
    case IdxType::kInt8:
      return 1;
    case IdxType::kInt16:
      return 2;
    case IdxType::kInt32:
    case IdxType::kFloat32:
      return 4;
    case IdxType::kFloat64:
      return 8;
  }
  return 0;
}

template <size_t kElementBytes>
void Reverse(std::vector<uint8_t>& bytes) {
  for (size_t i = 0; i < bytes.size(); i += kElementBytes) {
    std::reverse(&bytes[i], &bytes[i] + kElementBytes);
  }
}

void SwapToNative(int64_t element_bytes, std::vector<uint8_t>& bytes) {
  if (std::endian::native == std::endian::big) {
    return;
  }
  switch (element_bytes) {
    case 2:
      return Reverse<2>(bytes);
    case 4:
      return Reverse<4>(bytes);
    case 8:
      return Reverse<8>(bytes);
    default:
      return;
  }
}

absl::Status FaultAt(int64_t offset, absl::string_view cause) {
  return InputFileError(absl::StrCat("at byte ", offset, ": ", cause));
}

// Parses the `stored_bytes` of a file, which `source` turns into at most
// `max_bytes`; `beyond` says what it means when the header promises more.
absl::StatusOr<IdxArray> Parse(ByteSource& source, int64_t stored_bytes,
                               int64_t max_bytes, absl::string_view beyond) {
  uint8_t magic[4];
  FEDLB_ASSIGN_OR_RETURN(const size_t magic_bytes,
                         source.Read(absl::MakeSpan(magic)));
  if (magic_bytes < sizeof(magic)) {
    return FaultAt(static_cast<int64_t>(magic_bytes),
                   "the file ends within its header; fetch it again");
  }
  const int64_t element_bytes = ElementBytes(magic[2]);
  if (magic[0] != 0 || magic[1] != 0 || element_bytes == 0 || magic[3] == 0) {
    return FaultAt(
        0, absl::StrFormat(
               "not an IDX file: it starts with %02x %02x %02x %02x, and an "
               "IDX file with 00 00, a type in {08, 09, 0b, 0c, 0d, 0e} and a "
               "number of dimensions above 0",
               magic[0], magic[1], magic[2], magic[3]));
  }

  IdxArray array;
  array.type = static_cast<IdxType>(magic[2]);
  const int64_t num_dims = magic[3];
  std::vector<uint8_t> sizes(static_cast<size_t>(4 * num_dims));
  FEDLB_ASSIGN_OR_RETURN(const size_t size_bytes,
                         source.Read(absl::MakeSpan(sizes)));
  if (size_bytes < sizes.size()) {
    return FaultAt(static_cast<int64_t>(sizeof(magic) + size_bytes),
                   absl::StrCat("the file ends within the sizes of its ",
                                num_dims, " dimensions; fetch it again"));
  }
  // The product leaves zeros out, so that one cannot hide an absurd size.
  int64_t payload = element_bytes;
  bool is_empty = false;
  for (int64_t i = 0; i < num_dims; ++i) {
    const uint8_t* size = &sizes[static_cast<size_t>(4 * i)];
    const int64_t dim = int64_t{size[0]} << 24 | int64_t{size[1]} << 16 |
                        int64_t{size[2]} << 8 | int64_t{size[3]};
    array.dims.push_back(dim);
    is_empty = is_empty || dim == 0;
    if (dim != 0 && __builtin_mul_overflow(payload, dim, &payload)) {
      return FaultAt(4 * (i + 1),
                     "the product of the dimensions exceeds 2^63 bytes; the "
                     "header is corrupt");
    }
  }
  if (is_empty) {
    payload = 0;
  }
  const int64_t header_bytes = 4 + 4 * num_dims;
  if (payload > max_bytes - header_bytes) {
    return FaultAt(header_bytes, absl::StrCat("the header promises ", payload,
                                              " bytes of data, ", beyond));
  }

  // The first guess covers ordinary files; a forged header that gets past the
  // check above grows with the bytes that really arrive.
  const auto wanted = static_cast<size_t>(payload);
  array.bytes.reserve(
      std::min(wanted, static_cast<size_t>(8 * stored_bytes) + kBlockBytes));
  while (array.bytes.size() < wanted) {
    const size_t start = array.bytes.size();
    const size_t count = std::min(wanted - start, kBlockBytes);
    array.bytes.resize(start + count);
    FEDLB_ASSIGN_OR_RETURN(
        const size_t got,
        source.Read(absl::MakeSpan(array.bytes).subspan(start, count)));
    if (got < count) {
      return FaultAt(
          header_bytes + static_cast<int64_t>(start + got),
          absl::StrCat("the data ends here, and the header promises ", payload,
                       " bytes of it; the file is truncated, fetch it again"));
    }
  }
  // Reading past the end also makes a decompressor check its last checksum.
  uint8_t extra;
  FEDLB_ASSIGN_OR_RETURN(const size_t extra_bytes,
                         source.Read(absl::MakeSpan(&extra, 1)));
  if (extra_bytes > 0) {
    return FaultAt(header_bytes + payload,
                   absl::StrCat("bytes follow the ", payload,
                                " bytes that the header promises; the header "
                                "or the file is wrong"));
  }
  SwapToNative(element_bytes, array.bytes);
  return array;
}

absl::StatusOr<IdxArray> ParseStored(std::unique_ptr<ByteSource> source,
                                     int64_t stored_bytes) {
  std::vector<uint8_t> head(2);
  FEDLB_ASSIGN_OR_RETURN(const size_t head_bytes,
                         source->Read(absl::MakeSpan(head)));
  head.resize(head_bytes);
  if (head != std::vector<uint8_t>{0x1f, 0x8b}) {
    PeekedSource whole(std::move(source), std::move(head));
    return Parse(
        whole, stored_bytes, stored_bytes,
        absl::StrCat("and the file has ", stored_bytes,
                     " bytes in all; it is truncated, fetch it again"));
  }
  FEDLB_ASSIGN_OR_RETURN(const std::unique_ptr<GzipSource> unpacked,
                         GzipSource::Create(std::move(source), head));
  const int64_t max_bytes =
      std::max(kAlwaysPlausibleBytes, kMaxGzipRatio * stored_bytes);
  absl::StatusOr<IdxArray> array = Parse(
      *unpacked, stored_bytes, max_bytes,
      absl::StrCat("more than ", kMaxGzipRatio, " times the ", stored_bytes,
                   " bytes of the compressed file; it is damaged, or a "
                   "decompression bomb"));
  if (!array.ok()) {
    return Annotate(array.status(), "unpacked data");
  }
  return array;
}

}  // namespace

const char* IdxTypeName(IdxType type) {
  switch (type) {
    case IdxType::kUint8:
      return "uint8";
    case IdxType::kInt8:
      return "int8";
    case IdxType::kInt16:
      return "int16";
    case IdxType::kInt32:
      return "int32";
    case IdxType::kFloat32:
      return "float32";
    case IdxType::kFloat64:
      return "float64";
  }
  return "unknown";
}

absl::StatusOr<IdxArray> ReadIdxFile(const std::string& path) {
  // Without O_NONBLOCK, opening a named pipe would wait for its writer.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    return InputFileError(
        absl::StrCat(path, ": cannot open: ", strerror(errno)));
  }
  auto source = std::make_unique<FileSource>(fd);
  struct stat info;
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    return InputFileError(absl::StrCat(path, ": not a regular file"));
  }
  absl::StatusOr<IdxArray> array =
      ParseStored(std::move(source), static_cast<int64_t>(info.st_size));
  if (!array.ok()) {
    return Annotate(array.status(), path);
  }
  return array;
}

absl::StatusOr<IdxArray> ParseIdx(absl::Span<const uint8_t> content,
                                  absl::string_view name) {
  absl::StatusOr<IdxArray> array =
      ParseStored(std::make_unique<MemorySource>(content),
                  static_cast<int64_t>(content.size()));
  if (!array.ok()) {
    return Annotate(array.status(), name);
  }
  return array;
}

}  // namespace fedlb::data
