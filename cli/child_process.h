// Runs of this program as processes of their own.

#ifndef FEDLB_CLI_CHILD_PROCESS_H_
#define FEDLB_CLI_CHILD_PROCESS_H_

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace fedlb::cli {

// One process. It ends with this one, however that ends.
class ChildProcess {
 public:
  // Starts this program with `arguments`, its stdout and stderr in files and no
  // FEDLB_SET__ variable in its environment. Signals from the terminal do not
  // reach it.
  //
  // kStorage: a file cannot be made. kInternal: no process can be made.
  static absl::StatusOr<ChildProcess> Start(
      const std::vector<std::string>& arguments, const std::string& stdout_path,
      const std::string& stderr_path);

  // The exit code once it has ended, 128 and the signal when one killed it.
  std::optional<int> Poll();

  void Interrupt();

 private:
  explicit ChildProcess(pid_t pid) : pid_(pid) {}

  pid_t pid_;
};

}  // namespace fedlb::cli

#endif  // FEDLB_CLI_CHILD_PROCESS_H_
