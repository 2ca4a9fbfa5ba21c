#include "core/storage_testing.h"

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"

namespace fedlb {
namespace {

thread_local FaultySystemCalls* current_faults = nullptr;

}  // namespace

TemporaryFolder::TemporaryFolder()
    : path_(absl::StrCat(::testing::TempDir(), "/fedlb.XXXXXX")) {
  if (mkdtemp(path_.data()) == nullptr) {
    std::abort();
  }
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code error;
  std::filesystem::remove_all(path_, error);
}

std::string TemporaryFolder::operator/(absl::string_view name) const {
  return absl::StrCat(path_, "/", name);
}

std::vector<std::string> NamesIn(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string Contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.is_open()) << path;
  return {std::istreambuf_iterator<char>(file),
          std::istreambuf_iterator<char>()};
}

void Write(const std::string& path, absl::string_view bytes) {
  // ext4 syncs a file that is truncated and written; a new one it does not.
  unlink(path.c_str());
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  ASSERT_TRUE(file.flush().good()) << path;
}

pid_t StartChild(const std::function<int()>& body) {
  const pid_t child = fork();
  if (child == 0) {
    const int code = body();
    // Not exit(): the parent's atexit functions are not the child's.
    _exit(::testing::Test::HasFailure() ? 1 : code);
  }
  return child;
}

int WaitFor(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

int RunInChild(const std::function<int()>& body) {
  return WaitFor(StartChild(body));
}

bool MountSmallDisk(const std::string& folder, int64_t bytes) {
  if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) {
    return false;
  }
  return mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         mount("fedlb", folder.c_str(), "tmpfs", 0,
               absl::StrCat("size=", bytes, ",mode=1777").c_str()) == 0;
}

FaultySystemCalls::FaultySystemCalls(int at, Fault fault, int error)
    : at_(at), fault_(fault), error_(error) {
  current_faults = this;
}

FaultySystemCalls::~FaultySystemCalls() { current_faults = nullptr; }

bool FaultySystemCalls::HalvesNext() const {
  return fault_ == Fault::kHalf && static_cast<int>(calls_.size()) == at_;
}

template <typename Call>
long FaultySystemCalls::Pass(const char* name, const Call& call) {
  const bool chosen = static_cast<int>(calls_.size()) == at_;
  calls_.emplace_back(name);
  if (chosen && fault_ == Fault::kDieBefore) {
    kill(getpid(), SIGKILL);
  }
  if (chosen && fault_ == Fault::kError) {
    // A descriptor is gone even when close fails.
    if (absl::string_view(name) == "close") {
      call();
    }
    errno = error_;
    return -1;
  }
  const long result = call();
  if (chosen && fault_ == Fault::kDieAfter) {
    kill(getpid(), SIGKILL);
  }
  return result;
}

namespace {

template <typename Call>
long System(const char* name, const Call& call) {
  return current_faults == nullptr ? call() : current_faults->Pass(name, call);
}

}  // namespace
}  // namespace fedlb

// The program's own definitions come before the C library's, for the shared
// library under test too.
#pragma GCC visibility push(default)
extern "C" {

int open(const char* path, int flags, ...) {
  mode_t mode = 0;
  if ((flags & O_CREAT) != 0) {
    va_list arguments;
    va_start(arguments, flags);
    mode = va_arg(arguments, mode_t);
    va_end(arguments);
  }
  return static_cast<int>(fedlb::System("open", [=] {
    return syscall(SYS_openat, AT_FDCWD, path, flags, mode);
  }));
}

ssize_t write(int fd, const void* bytes, size_t size) {
  const fedlb::FaultySystemCalls* faults = fedlb::current_faults;
  if (faults != nullptr && faults->HalvesNext()) {
    size = (size + 1) / 2;
  }
  return fedlb::System("write",
                       [=] { return syscall(SYS_write, fd, bytes, size); });
}

int fsync(int fd) {
  return static_cast<int>(
      fedlb::System("fsync", [=] { return syscall(SYS_fsync, fd); }));
}

int close(int fd) {
  return static_cast<int>(
      fedlb::System("close", [=] { return syscall(SYS_close, fd); }));
}

int rename(const char* from, const char* to) noexcept {
  return static_cast<int>(fedlb::System("rename", [=] {
    return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
  }));
}

}  // extern "C"
#pragma GCC visibility pop
