#include "data/input_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <system_error>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "fedlb/status.h"

namespace fedlb::data {
namespace {

// strerror() is not for threads.
std::string ErrorText() { return std::generic_category().message(errno); }

// The bytes of the UTF-8 sequence at the front of `text`, or 0 for none. The
// bounds of the second byte keep out overlong forms, surrogates and what lies
// beyond U+10FFFF (RFC 3629, section 4).
size_t SequenceBytes(absl::string_view text) {
  const auto at = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = at(0);
  if (lead < 0x80) {
    return 1;
  }
  const size_t count = lead >= 0xc2 && lead <= 0xdf   ? 2
                       : lead >= 0xe0 && lead <= 0xef ? 3
                       : lead >= 0xf0 && lead <= 0xf4 ? 4
                                                      : 0;
  if (count == 0 || text.size() < count) {
    return 0;
  }
  const uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  const uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  if (at(1) < low || at(1) > high) {
    return 0;
  }
  for (size_t i = 2; i < count; ++i) {
    if (at(i) < 0x80 || at(i) > 0xbf) {
      return 0;
    }
  }
  return count;
}

bool IsPlainText(absl::string_view text) {
  while (!text.empty()) {
    const auto lead = static_cast<uint8_t>(text.front());
    const size_t count = SequenceBytes(text);
    if (count == 0 || lead < 0x20 || lead == 0x7f) {
      return false;
    }
    text.remove_prefix(count);
  }
  return true;
}

}  // namespace

std::string ShownPath(absl::string_view path) {
  return IsPlainText(path) ? std::string(path) : absl::CHexEscape(path);
}

absl::Status FileFault(absl::string_view path, absl::string_view cause) {
  return InputFileError(absl::StrCat(ShownPath(path), ": ", cause));
}

absl::Status FileFault(absl::string_view path, int64_t offset,
                       absl::string_view cause) {
  return FileFault(path, absl::StrCat("at byte ", offset, ": ", cause));
}

InputFile::InputFile(std::string path, int fd)
    : path_(std::move(path)), fd_(fd) {}

InputFile::InputFile(InputFile&& other) noexcept
    : path_(std::move(other.path_)),
      fd_(std::exchange(other.fd_, -1)),
      size_(other.size_) {}

InputFile::~InputFile() {
  if (fd_ >= 0) {
    close(fd_);
  }
}

absl::StatusOr<InputFile> InputFile::Open(const std::string& path) {
  // Without O_NONBLOCK, opening a named pipe would wait for its writer.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    return FileFault(path, absl::StrCat("cannot open: ", ErrorText()));
  }
  InputFile file(path, fd);
  struct stat info;
  if (fstat(fd, &info) != 0) {
    return FileFault(path, absl::StrCat("cannot read: ", ErrorText()));
  }
  if (!S_ISREG(info.st_mode)) {
    return FileFault(path, "not a regular file");
  }
  file.size_ = static_cast<int64_t>(info.st_size);
  return file;
}

absl::Status InputFile::Read(int64_t offset, absl::Span<uint8_t> out) const {
  size_t filled = 0;
  while (filled < out.size()) {
    const int64_t position = offset + static_cast<int64_t>(filled);
    const ssize_t got = pread(fd_, out.data() + filled, out.size() - filled,
                              static_cast<off_t>(position));
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0) {
      return FileFault(path_, position,
                       absl::StrCat("cannot read: ", ErrorText()));
    }
    if (got == 0) {
      return FileFault(path_, position,
                       "the file became shorter while it was being read");
    }
    filled += static_cast<size_t>(got);
  }
  return absl::OkStatus();
}

}  // namespace fedlb::data
