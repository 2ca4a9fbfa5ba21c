// A file in memory for fuzz targets of readers that take a path.

#ifndef FEDLB_TESTS_FUZZ_MEMORY_FILE_H_
#define FEDLB_TESTS_FUZZ_MEMORY_FILE_H_

#include <cstdlib>
#include <string>

#include <sys/mman.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"

namespace fedlb {

// What a fuzz target relies on.
inline void Require(bool holds) {
  if (!holds) {
    abort();
  }
}

class MemoryFile {
 public:
  MemoryFile() : fd_(memfd_create("fuzz", 0)) { Require(fd_ >= 0); }
  std::string path() const { return absl::StrCat("/proc/self/fd/", fd_); }
  void Fill(const std::string& bytes) const {
    Require(ftruncate(fd_, 0) == 0);
    Require(pwrite(fd_, bytes.data(), bytes.size(), 0) ==
            static_cast<ssize_t>(bytes.size()));
  }

 private:
  const int fd_;
};

}  // namespace fedlb

#endif  // FEDLB_TESTS_FUZZ_MEMORY_FILE_H_
