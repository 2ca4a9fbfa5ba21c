// What the tests of files need: folders that vanish, children that die, disks
// that are full, and system calls that fail.

#ifndef FEDLB_TESTS_CORE_STORAGE_TESTING_H_
#define FEDLB_TESTS_CORE_STORAGE_TESTING_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "absl/strings/string_view.h"

namespace fedlb {

// A new folder that is removed with all that is in it.
class TemporaryFolder {
 public:
  TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder();

  const std::string& path() const { return path_; }
  std::string operator/(absl::string_view name) const;

 private:
  std::string path_;
};

// Sorted names, hidden ones too; empty for a folder that is not there.
std::vector<std::string> NamesIn(const std::string& folder);

// Without the library's own care, for tests of that care.
std::string Contents(const std::string& path);
void Write(const std::string& path, absl::string_view bytes);

// Starts a child that runs `body` and exits with 1 when an expectation failed
// in it, else with what `body` returns.
pid_t StartChild(const std::function<int()>& body);
// The child's exit code, or minus the signal that ended it.
int WaitFor(pid_t child);
int RunInChild(const std::function<int()>& body);

// In a child only: mounts an empty file system of so many bytes on `folder`, in
// a mount namespace of the child's own. False where that is not allowed.
bool MountSmallDisk(const std::string& folder, int64_t bytes);
// What such a child returns to have its test skipped.
inline constexpr int kNotAllowed = 77;

// While it lives, counts the calls of this thread of open, write, fsync, close
// and rename, and does something to one of them.
class FaultySystemCalls {
 public:
  enum class Fault {
    kNone,
    kError,      // the call fails with `error`
    kHalf,       // a write takes half of what it is given
    kDieBefore,  // the process is killed
    kDieAfter,
  };

  FaultySystemCalls() : FaultySystemCalls(-1, Fault::kNone) {}
  // `at` counts from 0.
  FaultySystemCalls(int at, Fault fault, int error = 0);
  FaultySystemCalls(const FaultySystemCalls&) = delete;
  FaultySystemCalls& operator=(const FaultySystemCalls&) = delete;
  ~FaultySystemCalls();

  // In order: "open", "write", ...
  const std::vector<std::string>& calls() const { return calls_; }

  // For the system calls below.
  template <typename Call>
  long Pass(const char* name, const Call& call);
  bool HalvesNext() const;

 private:
  const int at_;
  const Fault fault_;
  const int error_;
  std::vector<std::string> calls_;
};

}  // namespace fedlb

#endif  // FEDLB_TESTS_CORE_STORAGE_TESTING_H_
