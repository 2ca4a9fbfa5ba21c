#include "safetensors_reader.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include <ATen/ops/empty.h>

#include "absl/strings/str_cat.h"
#include "fedlb/status.h"

namespace fedlb {
namespace {

// A block is hashed while it is in the cache.
constexpr uint64_t kBlockBytes = 256 << 10;

absl::Status ReadFully(int fd, uint64_t offset, char* target, size_t size) {
  while (size > 0) {
    const ssize_t count = pread(fd, target, size, static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count <= 0) {
      return absl::DataLossError(
          count < 0 ? SystemError()
                    : "it became shorter while it was being read");
    }
    offset += static_cast<uint64_t>(count);
    target += count;
    size -= static_cast<size_t>(count);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CannotRead(absl::string_view path, absl::string_view reason) {
  return InputFileError(absl::StrCat("cannot read ", path, ": ", reason));
}

absl::StatusOr<SafetensorsPreamble> ReadSafetensorsPreamble(uint64_t file_size,
                                                            ReadBytes read) {
  if (file_size < kSafetensorsLengthBytes) {
    return absl::DataLossError(
        absl::StrCat("a file of ", file_size, " bytes has no header length"));
  }
  std::array<char, kSafetensorsLengthBytes> length_bytes;
  FEDLB_RETURN_IF_ERROR(read(0, length_bytes.data(), kSafetensorsLengthBytes));
  uint64_t length = 0;
  std::memcpy(&length, length_bytes.data(), kSafetensorsLengthBytes);
  if (length > file_size - kSafetensorsLengthBytes) {
    return absl::DataLossError(absl::StrCat("a header of ", length,
                                            " bytes in a file of ", file_size));
  }
  if (length > kMaxSafetensorsHeaderBytes) {
    return absl::DataLossError(absl::StrCat(
        "a header of ", length, " bytes, over ", kMaxSafetensorsHeaderBytes));
  }
  std::string text(length, '\0');
  FEDLB_RETURN_IF_ERROR(read(kSafetensorsLengthBytes, text.data(), length));
  SafetensorsPreamble preamble;
  preamble.data_offset = kSafetensorsLengthBytes + length;
  FEDLB_ASSIGN_OR_RETURN(
      preamble.header,
      ParseSafetensorsHeader(text, file_size - preamble.data_offset));
  FEDLB_RETURN_IF_ERROR(
      CheckHeaderDigest(std::move(text), preamble.header.metadata));
  return preamble;
}

absl::StatusOr<at::Tensor> ReadSafetensorsTensor(const SafetensorsEntry& entry,
                                                 ReadBytes read,
                                                 DataDigests& digests) {
  at::Tensor tensor =
      at::empty(entry.shape, at::TensorOptions().dtype(entry.dtype));
  auto* const target = static_cast<char*>(tensor.mutable_data_ptr());
  for (uint64_t at = entry.begin; at < entry.end; at += kBlockBytes) {
    char* const block = target + (at - entry.begin);
    const size_t size = std::min(kBlockBytes, entry.end - at);
    FEDLB_RETURN_IF_ERROR(read(at, block, size));
    digests.Update(block, size);
  }
  // LibTorch loads these bytes as bool, for which only two values exist.
  if (entry.dtype == at::kBool &&
      std::any_of(target, target + (entry.end - entry.begin),
                  [](char value) { return value != 0 && value != 1; })) {
    return absl::DataLossError(absl::StrCat("tensor ", Quoted(entry.name),
                                            " holds booleans beyond 0 and 1"));
  }
  return tensor;
}

absl::StatusOr<SafetensorsReader> SafetensorsReader::Open(
    const std::string& path) {
  // Without O_NONBLOCK a pipe would wait here for a writer.
  FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat information;
  if (!file.ok() || fstat(file.get(), &information) != 0) {
    return CannotRead(path, SystemError());
  }
  if (!S_ISREG(information.st_mode)) {
    return CannotRead(path, "not a regular file");
  }
  SafetensorsReader reader(path, std::move(file), information);
  absl::StatusOr<SafetensorsPreamble> preamble = ReadSafetensorsPreamble(
      static_cast<uint64_t>(information.st_size),
      [&reader](uint64_t offset, char* target, size_t size) {
        return ReadFully(reader.file_.get(), offset, target, size);
      });
  if (!preamble.ok()) {
    return CannotRead(path, preamble.status().message());
  }
  reader.preamble_ = std::move(*preamble);
  return reader;
}

SafetensorsReader::SafetensorsReader(std::string path, FileDescriptor file,
                                     const struct stat& information)
    : path_(std::move(path)),
      file_(std::move(file)),
      information_(information) {}

absl::Status SafetensorsReader::ReadAt(uint64_t offset, char* target,
                                       size_t size) const {
  const absl::Status status =
      ReadFully(file_.get(), preamble_.data_offset + offset, target, size);
  return status.ok() ? status : CannotRead(path_, status.message());
}

absl::Status SafetensorsReader::CheckUnchanged() const {
  struct stat now;
  if (fstat(file_.get(), &now) != 0) {
    return CannotRead(path_, SystemError());
  }
  if (now.st_size != information_.st_size ||
      now.st_mtim.tv_sec != information_.st_mtim.tv_sec ||
      now.st_mtim.tv_nsec != information_.st_mtim.tv_nsec) {
    return CannotRead(path_, "it was written to while it was being read");
  }
  return absl::OkStatus();
}

}  // namespace fedlb
