// Clients of a run as processes of their own on this machine, for trying a
// federation out: `fedlb train --spawn`.

#ifndef FEDLB_CLI_CLIENT_PROCESSES_H_
#define FEDLB_CLI_CLIENT_PROCESSES_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "child_process.h"
#include "command.h"
#include "fedlb/experiment_config.h"
#include "fedlb/logger.h"

namespace fedlb::cli {

// The folder of sockets and settings is removed at the end.
class ClientProcesses {
 public:
  // A server with `config` and these clients meet at a socket in a folder of
  // their own. kUsage: more processes than clients; kStorage.
  static absl::StatusOr<std::unique_ptr<ClientProcesses>> Prepare(
      int64_t count, Logger& logger);
  ~ClientProcesses();

  // Where the server is to listen.
  std::string address() const { return "unix:" + folder_ + "/server"; }

  // Starts processes that share out the clients of `config`, with their output
  // in `log_folder`, and warns of one that ends before its time.
  absl::Status Start(const ExperimentConfig& config, const CommonFlags& flags,
                     const std::string& log_folder);

  // Waits for the processes to end by themselves, some seconds. The destructor
  // stops those that have not.
  void AwaitEnd();

 private:
  struct Process {
    std::vector<int64_t> clients;
    ChildProcess child;
    std::string log;
    std::optional<int> exit_code;
  };

  ClientProcesses(int64_t count, std::string folder, Logger& logger)
      : count_(count), folder_(std::move(folder)), logger_(logger) {}

  // Returns whether all have ended.
  bool Poll();

  const int64_t count_;
  const std::string folder_;
  Logger& logger_;
  std::vector<Process> processes_;
  std::atomic<bool> all_ended_{false};
  std::atomic<bool> stopping_{false};
  std::atomic<bool> finishing_{false};
  std::thread watch_;
};

}  // namespace fedlb::cli

#endif  // FEDLB_CLI_CLIENT_PROCESSES_H_
