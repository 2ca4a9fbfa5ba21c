#include "posix_file.h"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <ctime>
#include <system_error>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "fedlb/status.h"

namespace fedlb {
namespace {

// A write beyond RLIMIT_FSIZE raises SIGXFSZ in the writing thread. Blocking it
// there and taking it away again leaves the process's handlers as they are.
class FileSizeSignalBlock {
 public:
  FileSizeSignalBlock() {
    sigemptyset(&signal_);
    sigaddset(&signal_, SIGXFSZ);
    pthread_sigmask(SIG_BLOCK, &signal_, &previous_);
  }
  FileSizeSignalBlock(const FileSizeSignalBlock&) = delete;
  FileSizeSignalBlock& operator=(const FileSizeSignalBlock&) = delete;
  ~FileSizeSignalBlock() {
    const int saved_errno = errno;
    if (sigismember(&previous_, SIGXFSZ) == 0) {
      const timespec no_wait = {};
      while (sigtimedwait(&signal_, nullptr, &no_wait) < 0 && errno == EINTR) {
      }
      pthread_sigmask(SIG_SETMASK, &previous_, nullptr);
    }
    errno = saved_errno;
  }

 private:
  sigset_t signal_;
  sigset_t previous_;
};

bool IsNumber(absl::string_view text) {
  return !text.empty() && absl::c_all_of(text, absl::ascii_isdigit);
}

}  // namespace

bool FileDescriptor::Close() {
  if (fd_ < 0) {
    return true;
  }
  // Linux gives the descriptor back even when a signal interrupts the call, so
  // trying again could close someone else's.
  return close(std::exchange(fd_, -1)) == 0 || errno == EINTR;
}

std::string SystemError() { return std::generic_category().message(errno); }

std::string DirectoryOf(absl::string_view path) {
  const size_t slash = path.rfind('/');
  if (slash == absl::string_view::npos) {
    return ".";
  }
  return std::string(slash == 0 ? "/" : path.substr(0, slash));
}

absl::Status SystemFailure(absl::string_view step, absl::string_view path) {
  return StorageError(
      absl::StrCat("cannot ", step, " ", path, ": ", SystemError()));
}

std::string NameOf(absl::string_view path) {
  const size_t slash = path.rfind('/');
  return std::string(slash == absl::string_view::npos ? path
                                                      : path.substr(slash + 1));
}

bool WriteAll(int fd, absl::string_view bytes) {
  const FileSizeSignalBlock block;
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) {
      continue;
    }
    if (written <= 0) {
      // A device that takes nothing and reports nothing would loop for ever.
      errno = written == 0 ? EIO : errno;
      return false;
    }
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

bool ReadAt(int fd, int64_t offset, std::string& bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t count = pread(fd, bytes.data() + done, bytes.size() - done,
                                offset + static_cast<int64_t>(done));
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count <= 0) {
      errno = count == 0 ? EIO : errno;
      return false;
    }
    done += static_cast<size_t>(count);
  }
  return true;
}

bool SyncFile(int fd) {
  int result;
  // Any other error stands: after a failed fsync the kernel may drop the pages
  // and call the next one a success.
  do {
    result = fsync(fd);
  } while (result != 0 && errno == EINTR);
  return result == 0;
}

bool SyncDirectory(const std::string& path) {
  FileDescriptor directory(
      open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // Some network file systems cannot sync a folder and say EINVAL.
  return directory.ok() && (SyncFile(directory.get()) || errno == EINVAL);
}

std::string TemporaryName(absl::string_view name) {
  static std::atomic<uint64_t> counter = 0;
  return absl::StrCat(".", name, ".tmp.", getpid(), ".", ++counter);
}

bool IsTemporaryName(absl::string_view name) {
  const std::vector<absl::string_view> parts = absl::StrSplit(name, '.');
  const size_t n = parts.size();
  return n >= 5 && parts.front().empty() && parts[n - 3] == "tmp" &&
         IsNumber(parts[n - 2]) && IsNumber(parts[n - 1]);
}

}  // namespace fedlb
