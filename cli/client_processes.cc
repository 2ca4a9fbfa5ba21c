#include "client_processes.h"

#include <stdlib.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "fedlb/durable_file.h"
#include "fedlb/status.h"

namespace fedlb::cli {
namespace {

constexpr std::chrono::milliseconds kPeriod(100);
constexpr std::chrono::seconds kPatience(10);

}  // namespace

absl::StatusOr<std::unique_ptr<ClientProcesses>> ClientProcesses::Prepare(
    int64_t count, Logger& logger) {
  const char* temporary = getenv("TMPDIR");
  std::string folder = absl::StrCat(
      temporary != nullptr && *temporary != '\0' ? temporary : "/tmp",
      "/fedlb-XXXXXX");
  if (mkdtemp(folder.data()) == nullptr) {
    return StorageError(absl::StrCat("cannot make a folder like ", folder, ": ",
                                     strerror(errno)));
  }
  return std::unique_ptr<ClientProcesses>(
      new ClientProcesses(count, folder, logger));
}

ClientProcesses::~ClientProcesses() {
  if (watch_.joinable()) {
    if (!all_ended_) {
      stopping_ = true;
      for (Process& process : processes_) {
        process.child.Interrupt();
      }
      AwaitEnd();
    }
    finishing_ = true;
    watch_.join();
  }
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

absl::Status ClientProcesses::Start(const ExperimentConfig& config,
                                    const CommonFlags& flags,
                                    const std::string& log_folder) {
  const int64_t clients = config.federation.clients;
  if (count_ > clients) {
    return UsageError(absl::StrCat("--spawn ", count_, ": the federation has ",
                                   clients, " clients to host"));
  }
  std::error_code error;
  std::filesystem::create_directories(log_folder, error);
  if (error) {
    return StorageError(absl::StrCat(log_folder, ": ", error.message()));
  }
  const std::string settings = absl::StrCat(folder_, "/config.toml");
  FEDLB_RETURN_IF_ERROR(
      WriteFileDurably(settings, PrintConfig(config, /*with_origins=*/false)));
  for (int64_t i = 0; i < count_; ++i) {
    std::vector<int64_t> hosted;
    for (int64_t client = i; client < clients; client += count_) {
      hosted.push_back(client);
    }
    std::vector<std::string> arguments = {
        "train",        "--config",    settings,
        "--role",       "client",      "--connect",
        address(),      "--client-id", absl::StrJoin(hosted, ","),
        "--format=json"};
    for (const std::string& plugin : flags.plugins) {
      arguments.insert(arguments.end(), {"--plugin", plugin});
    }
    for (const std::string& folder : flags.plugin_dirs) {
      arguments.insert(arguments.end(), {"--plugin-dir", folder});
    }
    const std::string log = absl::StrCat(log_folder, "/client-", i);
    FEDLB_ASSIGN_OR_RETURN(
        ChildProcess child,
        ChildProcess::Start(arguments, log + ".json", log + ".log"));
    processes_.push_back(
        {std::move(hosted), std::move(child), log + ".log", std::nullopt});
  }
  watch_ = std::thread([this] {
    while (!finishing_) {
      all_ended_ = Poll();
      std::this_thread::sleep_for(kPeriod);
    }
  });
  return absl::OkStatus();
}

bool ClientProcesses::Poll() {
  bool all_ended = true;
  for (Process& process : processes_) {
    if (process.exit_code.has_value()) {
      continue;
    }
    process.exit_code = process.child.Poll();
    if (!process.exit_code.has_value()) {
      all_ended = false;
    } else if (*process.exit_code != 0 && !stopping_) {
      logger_.Warning(absl::StrCat(
          "the process of client ", absl::StrJoin(process.clients, ", "),
          " ended with exit code ", *process.exit_code, "; see ", process.log));
    }
  }
  return all_ended;
}

void ClientProcesses::AwaitEnd() {
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (!all_ended_ && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(kPeriod);
  }
}

}  // namespace fedlb::cli
