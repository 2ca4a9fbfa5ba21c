// Runs programs from tests: output, exit code, time limit, private folder.

#ifndef FEDLB_TESTS_CLI_PROCESS_H_
#define FEDLB_TESTS_CLI_PROCESS_H_

#include <sys/types.h>

#include <map>
#include <string>
#include <vector>

namespace fedlb::testing {

// An empty folder under the system's one for temporary files, removed with
// everything in it when the object goes.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

struct ProcessResult {
  int exit_code = 0;  // 128 + signal where a signal ended the process
  std::string out;
  std::string err;
  bool timed_out = false;
};

// A child process in a group of its own. stdout and stderr go to the files
// `out` and `err` in the working directory, so that no pipe can fill up.
class Process {
 public:
  // Variables named in `environment` are set, or unset where empty; FEDLB_*
  // variables of the test itself are not handed down.
  Process(const std::vector<std::string>& argv, const std::string& folder,
          const std::map<std::string, std::string>& environment = {});
  // Kills what still runs.
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  void Signal(int signal) const;
  // After `timeout_seconds` the whole group is killed.
  ProcessResult Wait(double timeout_seconds);

 private:
  const std::string folder_;
  pid_t pid_ = -1;
  bool running_ = false;
};

ProcessResult RunProcess(
    const std::vector<std::string>& argv, const std::string& folder,
    const std::map<std::string, std::string>& environment = {},
    double timeout_seconds = 120);

std::string ReadFile(const std::string& path);

}  // namespace fedlb::testing

#endif  // FEDLB_TESTS_CLI_PROCESS_H_
