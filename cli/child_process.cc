#include "child_process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "fedlb/status.h"

namespace fedlb::cli {
namespace {

constexpr int kCannotExecute = 127;
// Where the system does not say how a process ended.
constexpr int kUnknownEnd = 255;

// Null-terminated, as exec wants it; the strings outlive the result.
std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  pointers.reserve(strings.size() + 1);
  for (std::string& text : strings) {
    pointers.push_back(text.data());
  }
  pointers.push_back(nullptr);
  return pointers;
}

absl::StatusOr<int> OpenForWriting(const std::string& path) {
  const int fd =
      open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) {
    return StorageError(absl::StrCat(path, ": ", strerror(errno)));
  }
  return fd;
}

}  // namespace

absl::StatusOr<ChildProcess> ChildProcess::Start(
    const std::vector<std::string>& arguments, const std::string& stdout_path,
    const std::string& stderr_path) {
  std::vector<std::string> argv = {"fedlb"};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  std::vector<std::string> environment;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (!absl::StartsWith(*variable, "FEDLB_SET__")) {
      environment.emplace_back(*variable);
    }
  }
  const std::vector<char*> argv_pointers = Pointers(argv);
  const std::vector<char*> environment_pointers = Pointers(environment);
  FEDLB_ASSIGN_OR_RETURN(const int out, OpenForWriting(stdout_path));
  absl::StatusOr<int> err = OpenForWriting(stderr_path);
  if (!err.ok()) {
    close(out);
    return err.status();
  }

  // A signal between fork and exec would be lost on a handler of this program.
  sigset_t stops;
  sigset_t before;
  sigemptyset(&stops);
  sigaddset(&stops, SIGINT);
  sigaddset(&stops, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &stops, &before);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) {
    // Other threads may have held locks: system calls only.
    std::signal(SIGINT, SIG_DFL);
    std::signal(SIGTERM, SIG_DFL);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) {
      _exit(kCannotExecute);
    }
    setpgid(0, 0);
    dup2(out, STDOUT_FILENO);
    dup2(*err, STDERR_FILENO);
    execve("/proc/self/exe", argv_pointers.data(), environment_pointers.data());
    _exit(kCannotExecute);
  }
  const int fork_errno = errno;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  close(out);
  close(*err);
  if (pid < 0) {
    return absl::InternalError(
        absl::StrCat("cannot start a process: ", strerror(fork_errno)));
  }
  return ChildProcess(pid);
}

std::optional<int> ChildProcess::Poll() {
  int status = 0;
  pid_t ended = 0;
  do {
    ended = waitpid(pid_, &status, WNOHANG);
  } while (ended < 0 && errno == EINTR);
  if (ended == 0) {
    return std::nullopt;
  }
  if (ended < 0) {
    return kUnknownEnd;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void ChildProcess::Interrupt() { kill(pid_, SIGINT); }

}  // namespace fedlb::cli
