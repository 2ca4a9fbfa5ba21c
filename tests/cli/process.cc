#include "cli/process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace fedlb::testing {
namespace {

// execve's view of the environment, made before fork: the child of a process
// with threads must not allocate.
std::vector<std::string> Environment(
    const std::map<std::string, std::string>& changes) {
  std::vector<std::string> entries;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const std::string name = text.substr(0, text.find('='));
    if (text.rfind("FEDLB_", 0) != 0 && changes.count(name) == 0) {
      entries.push_back(text);
    }
  }
  for (const auto& [name, value] : changes) {
    if (!value.empty()) {
      entries.push_back(name + "=" + value);
    }
  }
  return entries;
}

std::vector<char*> Pointers(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (const std::string& text : strings) {
    pointers.push_back(const_cast<char*>(text.c_str()));
  }
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

TemporaryFolder::TemporaryFolder() {
  path_ = (std::filesystem::temp_directory_path() / "fedlb-XXXXXX").string();
  if (mkdtemp(path_.data()) == nullptr) {
    throw std::runtime_error("cannot make " + path_);
  }
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code error;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(
           path_, std::filesystem::directory_options::skip_permission_denied,
           error)) {
    if (entry.is_directory(error) && !entry.is_symlink(error)) {
      // A case may have taken away the permission to write.
      std::filesystem::permissions(entry, std::filesystem::perms::owner_all,
                                   std::filesystem::perm_options::add, error);
    }
  }
  std::filesystem::remove_all(path_, error);
}

Process::Process(const std::vector<std::string>& argv,
                 const std::string& folder,
                 const std::map<std::string, std::string>& environment)
    : folder_(folder) {
  const std::vector<std::string> entries = Environment(environment);
  const std::vector<char*> arguments = Pointers(argv);
  const std::vector<char*> variables = Pointers(entries);
  const std::string out = folder_ + "/out";
  const std::string err = folder_ + "/err";
  pid_ = fork();
  if (pid_ == -1) {
    throw std::runtime_error("cannot fork");
  }
  if (pid_ == 0) {
    setpgid(0, 0);
    const int flags = O_WRONLY | O_CREAT | O_TRUNC;
    if (chdir(folder_.c_str()) != 0 ||
        dup2(open("/dev/null", O_RDONLY), STDIN_FILENO) == -1 ||
        dup2(open(out.c_str(), flags, 0600), STDOUT_FILENO) == -1 ||
        dup2(open(err.c_str(), flags, 0600), STDERR_FILENO) == -1) {
      _exit(127);
    }
    execve(arguments[0], arguments.data(), variables.data());
    _exit(127);
  }
  // Both sides set the group, so that a signal sent at once finds it.
  setpgid(pid_, pid_);
  running_ = true;
}

Process::~Process() {
  if (running_) {
    Signal(SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
}

void Process::Signal(int signal) const { kill(-pid_, signal); }

ProcessResult Process::Wait(double timeout_seconds) {
  using Clock = std::chrono::steady_clock;
  const auto deadline =
      Clock::now() + std::chrono::duration<double>(timeout_seconds);
  ProcessResult result;
  int status = 0;
  while (waitpid(pid_, &status, WNOHANG) == 0) {
    if (Clock::now() > deadline) {
      Signal(SIGKILL);
      waitpid(pid_, &status, 0);
      result.timed_out = true;
      break;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  running_ = false;
  result.exit_code =
      WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.out = ReadFile(folder_ + "/out");
  result.err = ReadFile(folder_ + "/err");
  return result;
}

ProcessResult RunProcess(const std::vector<std::string>& argv,
                         const std::string& folder,
                         const std::map<std::string, std::string>& environment,
                         double timeout_seconds) {
  Process process(argv, folder, environment);
  return process.Wait(timeout_seconds);
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  content << file.rdbuf();
  return content.str();
}

}  // namespace fedlb::testing
