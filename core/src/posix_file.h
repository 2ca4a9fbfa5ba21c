// Descriptors and whole writes, for the parts of core that keep files.

#ifndef FEDLB_SRC_POSIX_FILE_H_
#define FEDLB_SRC_POSIX_FILE_H_

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace fedlb {

// Closes its descriptor at the end of the scope.
class FileDescriptor {
 public:
  explicit FileDescriptor(int fd = -1) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(other.Release()) {}
  FileDescriptor& operator=(FileDescriptor&&) = delete;
  ~FileDescriptor() { Close(); }

  bool ok() const { return fd_ >= 0; }
  int get() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }

  // False with errno set when the system reports a late failure to write.
  bool Close();

 private:
  int fd_;
};

// What errno says, and the kStorage of a step that failed with it.
std::string SystemError();
absl::Status SystemFailure(absl::string_view step, absl::string_view path);

// The folder that `path` lies in ("." without a slash), and its last part.
std::string DirectoryOf(absl::string_view path);
std::string NameOf(absl::string_view path);

// The functions below return false with errno set.

// Writes everything, over interruptions and short writes. A file size limit is
// EFBIG and never the signal SIGXFSZ, which would end the process.
bool WriteAll(int fd, absl::string_view bytes);

// Fills `bytes` from `offset` on; also false when the file ends before.
bool ReadAt(int fd, int64_t offset, std::string& bytes);

// Makes what was written, or the names in a folder, outlive a power cut.
bool SyncFile(int fd);
bool SyncDirectory(const std::string& path);

// What WriteFileDurably calls its file until it is complete, and whether `name`
// is such a name.
std::string TemporaryName(absl::string_view name);
bool IsTemporaryName(absl::string_view name);

}  // namespace fedlb

#endif  // FEDLB_SRC_POSIX_FILE_H_
