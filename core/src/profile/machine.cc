#include "profile/machine.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <thread>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace fedlb {
namespace {

// What stands behind "key:" in a file of lines "key: value"; "" without it.
std::string ValueIn(const std::string& path, absl::string_view key) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(line, absl::MaxSplits(':', 1));
    if (absl::StripAsciiWhitespace(parts.first) == key) {
      return std::string(absl::StripAsciiWhitespace(parts.second));
    }
  }
  return "";
}

// The same for "123 kB", in bytes; 0 without it.
int64_t BytesIn(const std::string& path, absl::string_view key) {
  const std::string value = ValueIn(path, key);
  absl::string_view number = value;
  absl::ConsumeSuffix(&number, " kB");
  int64_t kib = 0;
  return absl::SimpleAtoi(number, &kib) ? kib * 1024 : 0;
}

// The least limit of the version 2 cgroups that this process is in; 0 without
// one.
int64_t CgroupLimit() {
  std::ifstream membership("/proc/self/cgroup");
  std::string line;
  std::string group;
  while (std::getline(membership, line)) {
    absl::string_view rest = line;
    if (absl::ConsumePrefix(&rest, "0::")) {
      group = std::string(rest);
    }
  }
  int64_t limit = 0;
  while (!group.empty()) {
    std::ifstream file(absl::StrCat("/sys/fs/cgroup", group, "/memory.max"));
    std::string text;
    int64_t bytes = 0;
    if (std::getline(file, text) && absl::SimpleAtoi(text, &bytes)) {
      limit = limit == 0 ? bytes : std::min(limit, bytes);
    }
    group = group.substr(0, group.rfind('/'));
  }
  return limit;
}

}  // namespace

std::string DescribeCpu() {
  const std::string name = ValueIn("/proc/cpuinfo", "model name");
  const unsigned cores = std::max(1U, std::thread::hardware_concurrency());
  return absl::StrCat(name.empty() ? "CPU" : name, ", ", cores,
                      cores == 1 ? " core" : " cores");
}

int64_t ProcessMemoryBudget() {
  const int64_t available = BytesIn("/proc/meminfo", "MemAvailable");
  const int64_t machine =
      available == 0 ? 0 : available + BytesIn("/proc/self/status", "VmRSS");
  const int64_t cgroup = CgroupLimit();
  return machine == 0 || (cgroup > 0 && cgroup < machine) ? cgroup : machine;
}

int64_t PeakResidentBytes() { return BytesIn("/proc/self/status", "VmHWM"); }

void TrimHeap() {
  // MKL's mkl_free_buffers, by the name that it has inside LibTorch; where
  // LibTorch has another BLAS there is none.
  static const auto free_buffers = reinterpret_cast<void (*)()>(
      dlsym(RTLD_DEFAULT, "mkl_serv_free_buffers"));
  if (free_buffers != nullptr) {
    free_buffers();
  }
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

void ResetPeakResident() {
  const int file = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
  if (file >= 0) {
    [[maybe_unused]] const ssize_t written = write(file, "5", 1);
    close(file);
  }
}

}  // namespace fedlb
