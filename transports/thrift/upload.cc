#include "thrift/upload.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "fedlb/memory.h"
#include "fedlb/status.h"
#include "thrift/refusal.h"

namespace fedlb::thrift {

Upload::Upload(int64_t bytes, int64_t identity)
    : bytes_(bytes),
      identity_(identity),
      data_(new char[static_cast<size_t>(bytes)]) {
  ExpectFilling(data_.get(), Size());
}

int64_t Upload::received() const {
  std::lock_guard lock(mutex_);
  return received_;
}

absl::StatusOr<int64_t> Upload::Put(int64_t offset, absl::string_view chunk) {
  std::lock_guard lock(mutex_);
  const auto size = static_cast<int64_t>(chunk.size());
  if (offset < 0 || offset > received_) {
    return Refusal(
        Refused::kOutOfOrder,
        absl::StrCat("a chunk at ", offset, " where ", received_, " is next"));
  }
  if (size > bytes_ - offset) {
    return Refusal(Refused::kTooLarge,
                   absl::StrCat("a chunk beyond the ", bytes_,
                                " bytes that were announced"));
  }
  if (offset + size <= received_) {
    return received_;
  }
  chunk.remove_prefix(static_cast<size_t>(received_ - offset));
  memcpy(data_.get() + received_, chunk.data(), chunk.size());
  received_ += static_cast<int64_t>(chunk.size());
  return received_;
}

absl::Status Upload::CheckComplete() const {
  std::lock_guard lock(mutex_);
  return received_ == bytes_ ? absl::OkStatus()
                             : Refusal(Refused::kOutOfOrder,
                                       absl::StrCat(received_, " of ", bytes_,
                                                    " bytes are here"));
}

absl::StatusOr<SpilledUpload> SpilledUpload::Write(const std::string& folder,
                                                   absl::string_view bytes) {
  const auto failure = [&](const char* step) {
    return StorageError(absl::StrCat("cannot keep an update of ", bytes.size(),
                                     " bytes in ", folder, " (", step, ": ",
                                     strerror(errno), ")"));
  };
  int fd = open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) {
    std::string path = folder + "/spilled.XXXXXX";
    fd = mkostemp(path.data(), O_CLOEXEC);
    if (fd >= 0) {
      unlink(path.c_str());
    }
  }
  if (fd < 0) {
    return failure("open");
  }
  SpilledUpload spilled(fd, static_cast<int64_t>(bytes.size()));
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) {
      continue;
    }
    if (written < 0) {
      return failure("write");
    }
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return spilled;
}

SpilledUpload::SpilledUpload(SpilledUpload&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), bytes_(other.bytes_) {}

SpilledUpload& SpilledUpload::operator=(SpilledUpload&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

SpilledUpload::~SpilledUpload() {
  if (fd_ >= 0) {
    close(fd_);
  }
}

absl::StatusOr<std::string> SpilledUpload::Read() const {
  std::string bytes(static_cast<size_t>(bytes_), '\0');
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = pread(fd_, bytes.data() + done, bytes.size() - done,
                              static_cast<off_t>(done));
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got <= 0) {
      return StorageError(absl::StrCat("cannot read back an update: ",
                                       got < 0 ? strerror(errno) : "it ends"));
    }
    done += static_cast<size_t>(got);
  }
  return bytes;
}

}  // namespace fedlb::thrift
