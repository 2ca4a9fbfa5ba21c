// One process at a time in a folder.

#ifndef FEDLB_FOLDER_LOCK_H_
#define FEDLB_FOLDER_LOCK_H_

#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "fedlb/export.h"

namespace fedlb {

// Held as long as it lives, and no longer than the process. The file ".lock" in
// the folder names the process and stays.
class FEDLB_API FolderLock {
 public:
  // kStorage: the folder is in use by another process, which the message names,
  // or nothing can be written in it.
  static absl::StatusOr<FolderLock> Take(const std::string& folder);

  FolderLock(FolderLock&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)) {}
  FolderLock& operator=(FolderLock&&) = delete;
  ~FolderLock();

 private:
  explicit FolderLock(int fd) : fd_(fd) {}

  int fd_;
};

}  // namespace fedlb

#endif  // FEDLB_FOLDER_LOCK_H_
