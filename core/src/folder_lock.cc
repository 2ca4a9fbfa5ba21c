#include "fedlb/folder_lock.h"

#include <cerrno>
#include <cstdint>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "fedlb/durable_file.h"
#include "fedlb/status.h"
#include "posix_file.h"

namespace fedlb {
namespace {

constexpr char kLockFile[] = ".lock";

}  // namespace

absl::StatusOr<FolderLock> FolderLock::Take(const std::string& folder) {
  const std::string path = absl::StrCat(folder, "/", kLockFile);
  FileDescriptor file(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!file.ok()) {
    return SystemFailure("write in", folder);
  }
  if (flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) {
      return SystemFailure("lock", path);
    }
    std::string holder;
    int64_t pid = 0;
    if (const auto text = ReadWholeFile(path, 32);
        text.ok() && absl::SimpleAtoi(*text, &pid)) {
      holder = absl::StrCat(" (process ", pid, ")");
    }
    return StorageError(
        absl::StrCat(folder, " is in use by another run", holder,
                     "; wait for it to end or choose another --output"));
  }
  if (ftruncate(file.get(), 0) != 0 ||
      !WriteAll(file.get(), absl::StrCat(getpid(), "\n"))) {
    return SystemFailure("write", path);
  }
  return FolderLock(file.Release());
}

// The file stays: removing it would let a third process lock a new one while a
// second one holds the old.
FolderLock::~FolderLock() {
  if (fd_ >= 0) {
    close(fd_);
  }
}

}  // namespace fedlb
