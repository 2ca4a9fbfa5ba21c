#include "growing_file.h"

#include <algorithm>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "event_file.h"
#include "fedlb/status.h"
#include "posix_file.h"

namespace fedlb {
namespace {

absl::StatusOr<int64_t> LengthOfWholeLines(int fd, int64_t size,
                                           const std::string& path) {
  constexpr int64_t kBlockBytes = 4096;
  std::string block;
  while (size > 0) {
    const int64_t count = std::min(size, kBlockBytes);
    block.resize(static_cast<size_t>(count));
    if (!ReadAt(fd, size - count, block)) {
      return SystemFailure("read", path);
    }
    if (const size_t found = block.rfind('\n'); found != std::string::npos) {
      return size - count + static_cast<int64_t>(found) + 1;
    }
    size -= count;
  }
  return 0;
}

}  // namespace

const PieceFormat kLines = {.plural = "lines",
                            .length_of_whole = LengthOfWholeLines,
                            .preamble = [] { return std::string(); }};

const PieceFormat kEventRecords = {
    .plural = "records",
    .length_of_whole = LengthOfWholeRecords,
    .preamble = [] {
      return FileVersionRecord(
          absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch()));
    }};

GrowingFile::GrowingFile(std::string path, const PieceFormat& format,
                         Logger& logger)
    : path_(std::move(path)), format_(format), logger_(logger) {}

GrowingFile::~GrowingFile() {
  if (fd_ >= 0) {
    close(fd_);
  }
}

absl::Status GrowingFile::Open() {
  if (fd_ >= 0) {
    return absl::OkStatus();
  }
  fd_ = open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd_ < 0 || !SyncDirectory(DirectoryOf(path_))) {
    return SystemFailure("write", path_);
  }
  return absl::OkStatus();
}

absl::StatusOr<int64_t> GrowingFile::Size() const {
  struct stat information;
  if (fstat(fd_, &information) != 0) {
    return SystemFailure("look at", path_);
  }
  return int64_t{information.st_size};
}

absl::Status GrowingFile::Append(absl::string_view pieces) {
  FEDLB_RETURN_IF_ERROR(Open());
  FEDLB_ASSIGN_OR_RETURN(const int64_t size, Size());
  const std::string bytes =
      absl::StrCat(size == 0 ? format_.preamble() : "", pieces);
  if (!WriteAll(fd_, bytes)) {
    const absl::Status status = SystemFailure(
        absl::StrCat("append ", bytes.size(), " bytes to"), path_);
    // What comes next must not continue half a piece. Where even this fails it
    // stays, and readers stop or skip there.
    if (ftruncate(fd_, size) != 0) {
      logger_.Warning(SystemFailure("cut a torn end off", path_).message());
    }
    return status;
  }
  return absl::OkStatus();
}

absl::StatusOr<int64_t> GrowingFile::Sync() {
  FEDLB_RETURN_IF_ERROR(Open());
  if (!SyncFile(fd_)) {
    return SystemFailure("sync", path_);
  }
  return Size();
}

absl::Status GrowingFile::Truncate(int64_t length) {
  FEDLB_RETURN_IF_ERROR(Open());
  FEDLB_ASSIGN_OR_RETURN(const int64_t size, Size());
  if (size < length) {
    // Truncating to more than there is would fill up with zero bytes.
    logger_.Warning(
        absl::StrCat(path_, " has ", size, " bytes, its checkpoint ", length,
                     "; ", format_.plural, " of earlier rounds are lost"));
    FEDLB_ASSIGN_OR_RETURN(length, format_.length_of_whole(fd_, size, path_));
  }
  if (ftruncate(fd_, length) != 0 || !SyncFile(fd_)) {
    return SystemFailure("cut", path_);
  }
  return absl::OkStatus();
}

}  // namespace fedlb
