#include <dlfcn.h>
#include <sched.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include <ATen/Version.h>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "doctor_command.h"
#include "fedlb/fingerprint.h"
#include "fedlb/registry.h"
#include "fedlb/status.h"
#include "plugin_set.h"
#include "table.h"
#include "terminal.h"

namespace fedlb::cli {
namespace {

using Json = nlohmann::ordered_json;

enum class Verdict { kOk, kWarning, kProblem };

struct Finding {
  std::string what;
  Verdict verdict = Verdict::kOk;
  std::string text;
};

const char* VerdictName(Verdict verdict) {
  switch (verdict) {
    case Verdict::kOk:
      return "ok";
    case Verdict::kWarning:
      return "warning";
    case Verdict::kProblem:
      return "problem";
  }
  return "";
}

Finding CheckPlugins(const CommonFlags& flags) {
  ComponentRegistry registry;
  const absl::Status status = LoadPluginsFor(flags, registry);
  if (!status.ok()) {
    return {"plugins", Verdict::kProblem, std::string(status.message())};
  }
  if (registry.entries().empty()) {
    return {"plugins", Verdict::kProblem,
            "none found: the installation is incomplete; build or install "
            "again"};
  }
  return {"plugins", Verdict::kOk,
          absl::StrCat(registry.plugins().size(), " with ",
                       registry.entries().size(), " components")};
}

// The header that plugins are compiled with and the library that is loaded.
Finding CheckTorch() {
  const std::string configuration = at::get_cxx_flags();
  return {"LibTorch", Verdict::kOk,
          absl::StrCat(FEDLB_TORCH_VERSION, ", instructions up to ",
                       at::get_cpu_capability())};
}

int UsableProcessors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
}

Finding CheckProcessors() {
  const int count = UsableProcessors();
  return {"processors", Verdict::kOk,
          absl::StrCat(count, " usable; transport.workers = ", count,
                       " keeps them busy")};
}

// A number of kB in /proc/meminfo, 0 when it is not there.
int64_t MemoryFigure(absl::string_view name) {
  std::ifstream file("/proc/meminfo");
  std::string line;
  while (std::getline(file, line)) {
    if (!absl::StartsWith(line, name)) {
      continue;
    }
    const std::vector<absl::string_view> words =
        absl::StrSplit(line, ' ', absl::SkipEmpty());
    int64_t kilobytes = 0;
    if (words.size() > 1 && absl::SimpleAtoi(words[1], &kilobytes)) {
      return kilobytes << 10;
    }
  }
  return 0;
}

// The limit of the control group, 0 for none.
int64_t MemoryLimitOfGroup() {
  std::ifstream file("/sys/fs/cgroup/memory.max");
  std::string text;
  int64_t bytes = 0;
  return std::getline(file, text) && absl::SimpleAtoi(text, &bytes) ? bytes : 0;
}

Finding CheckMemory() {
  constexpr int64_t kComfortable = int64_t{1} << 30;
  const int64_t available = MemoryFigure("MemAvailable:");
  const int64_t group = MemoryLimitOfGroup();
  std::string text =
      absl::StrCat(FormatBytes(available), " available of ",
                   FormatBytes(MemoryFigure("MemTotal:")));
  if (group > 0) {
    absl::StrAppend(&text, ", control group limited to ", FormatBytes(group));
  }
  if (available < kComfortable) {
    return {"memory", Verdict::kWarning,
            absl::StrCat(text, "; little for training: set "
                               "execution.memory_limit and small batches")};
  }
  return {"memory", Verdict::kOk, text};
}

Finding CheckDisk(const std::string& folder) {
  constexpr uint64_t kComfortable = uint64_t{1} << 30;
  struct statvfs disk;
  if (statvfs(folder.c_str(), &disk) != 0) {
    return {"disk", Verdict::kProblem,
            absl::StrCat(Printable(folder), ": ", strerror(errno))};
  }
  if (access(folder.c_str(), W_OK) != 0) {
    return {"disk", Verdict::kProblem,
            absl::StrCat(Printable(folder),
                         " cannot be written; name another folder by "
                         "--output")};
  }
  const uint64_t free = uint64_t{disk.f_bavail} * disk.f_frsize;
  const std::string text = absl::StrCat(
      FormatBytes(static_cast<int64_t>(free)), " free in ", Printable(folder));
  return free < kComfortable
             ? Finding{"disk", Verdict::kWarning,
                       absl::StrCat(text, "; checkpoints may fill it")}
             : Finding{"disk", Verdict::kOk, text};
}

// The default of fashion_mnist.root, where Debian's package puts the images.
Finding CheckData(const CommonFlags& flags) {
  ComponentRegistry registry;
  if (!LoadPluginsFor(flags, registry).ok()) {
    return {"data", Verdict::kWarning, "not checked: plugins are missing"};
  }
  const auto entry = registry.Find("dataset", "fashion_mnist");
  if (entry.ok()) {
    for (const ParamInfo& param : (*entry)->params) {
      absl::string_view root = param.default_value;
      if (param.name == "root" && root.size() > 2) {
        root = root.substr(1, root.size() - 2);  // quotes
        if (access(std::string(root).c_str(), R_OK) == 0) {
          return {"data", Verdict::kOk,
                  absl::StrCat("Fashion-MNIST in ", root)};
        }
      }
    }
  }
  return {"data", Verdict::kWarning,
          "Fashion-MNIST is not installed (apt install "
          "dataset-fashion-mnist); datasets of your own need a root"};
}

// Asks the driver itself: a CPU-only LibTorch knows of no device.
Finding CheckDevice() {
  void* driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
  if (driver == nullptr) {
    return {"device", Verdict::kOk, "no GPU driver: training is on the CPU"};
  }
  using InitFunction = int(unsigned);
  using CountFunction = int(int*);
  auto* init = reinterpret_cast<InitFunction*>(dlsym(driver, "cuInit"));
  auto* count_devices =
      reinterpret_cast<CountFunction*>(dlsym(driver, "cuDeviceGetCount"));
  int count = 0;
  if (init == nullptr || count_devices == nullptr || init(0) != 0 ||
      count_devices(&count) != 0) {
    return {"device", Verdict::kWarning,
            "a GPU driver is installed and does not answer"};
  }
  return {"device", Verdict::kOk, absl::StrCat(count, " GPU(s) visible")};
}

}  // namespace

absl::Status RunDoctor(const DoctorFlags& flags, CommandContext& context,
                       CommandResult& result) {
  const std::vector<Finding> findings = {
      {"fedlb", Verdict::kOk, absl::StrCat(FEDLB_VERSION, ", fingerprint ",
                                           FEDLB_BUILD_FINGERPRINT)},
      CheckTorch(),
      CheckPlugins(context.flags),
      CheckProcessors(),
      CheckMemory(),
      CheckDisk(flags.folder),
      CheckData(context.flags),
      CheckDevice(),
  };
  Json checks = Json::array();
  std::vector<std::vector<std::string>> rows;
  std::string problems;
  for (const Finding& finding : findings) {
    const char* verdict = VerdictName(finding.verdict);
    checks.push_back({{"check", finding.what},
                      {"verdict", verdict},
                      {"text", finding.text}});
    rows.push_back({finding.what, verdict, finding.text});
    if (finding.verdict == Verdict::kProblem) {
      absl::StrAppend(&problems, problems.empty() ? "" : ", ", finding.what);
    }
  }
  result.data["checks"] = std::move(checks);
  result.records = "checks";
  result.text = FormatTable({"check", "verdict", "found"}, rows);
  return problems.empty()
             ? absl::OkStatus()
             : absl::FailedPreconditionError(
                   absl::StrCat("not fit to train: ", problems));
}

}  // namespace fedlb::cli
