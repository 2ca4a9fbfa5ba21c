// The program fedlb: understands the command line, runs one command, prints.

#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <exception>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include <CLI/CLI.hpp>

#include "aggregate_command.h"
#include "certs_command.h"
#include "command.h"
#include "commands.h"
#include "completion.h"
#include "config_command.h"
#include "data_command.h"
#include "doctor_command.h"
#include "evaluate_command.h"
#include "fedlb/fingerprint.h"
#include "man_page.h"
#include "output.h"
#include "plugins_command.h"
#include "profile_command.h"
#include "report_command.h"
#include "sweep_command.h"
#include "teacher_fit_command.h"
#include "terminal.h"
#include "train_command.h"

namespace fedlb::cli {
namespace {

constexpr int kExitRuntime = 1;
constexpr int kExitUsage = 2;
constexpr int kExitStorage = 10;

std::atomic<int> stop{0};
std::atomic<int> stop_signal{0};
static_assert(std::atomic<int>::is_always_lock_free,
              "a signal handler uses these");

void OnStopSignal(int signal) {
  int none = 0;
  stop_signal.compare_exchange_strong(none, signal);
  if (stop.exchange(1) != 0) {
    _exit(128 + signal);
  }
  constexpr char kNotice[] =
      "\nstopping after this step; once more to stop at once\n";
  const int saved_errno = errno;
  // The handler can do nothing about a stderr that is closed.
  [[maybe_unused]] const ssize_t written =
      write(STDERR_FILENO, kNotice, sizeof(kNotice) - 1);
  errno = saved_errno;
}

// For the command that can stop between two steps; the others end at once.
void InstallStopSignals() {
  // Also where SIGINT came in ignored, as in a script's background jobs:
  // `kill -INT` is how a script asks for a checkpoint.
  struct sigaction action = {};
  action.sa_handler = OnStopSignal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

// A closed stdin, stdout or stderr would give its number to the next file that
// is opened, and the result would be written into a checkpoint. /dev/null is
// opened for reading only, so that writing to it fails and is noticed.
void OccupyStandardStreams() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (fcntl(fd, F_GETFD) == -1 && errno == EBADF) {
      open("/dev/null", O_RDONLY);
    }
  }
}

// Levenshtein's distance.
size_t EditDistance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) {
    row[j] = j;
  }
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1,
                         diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

// "; did you mean 'train'?", or nothing when no name is near.
std::string Suggestion(const std::string& word, const CLI::App& app) {
  std::vector<std::string> names;
  if (word.rfind("-", 0) == 0) {
    for (const CLI::Option* option : app.get_options()) {
      for (const std::string& name : option->get_lnames()) {
        names.push_back("--" + name);
      }
    }
  } else {
    for (const CLI::App* command : app.get_subcommands({})) {
      names.push_back(command->get_name());
    }
  }
  std::string nearest;
  size_t best = std::max<size_t>(2, word.size() / 3) + 1;
  for (const std::string& name : names) {
    const size_t distance = word.size() < 64 ? EditDistance(word, name) : best;
    if (distance < best) {
      best = distance;
      nearest = name;
    }
  }
  return nearest.empty() ? "" : "; did you mean '" + nearest + "'?";
}

// The innermost command that was named before parsing stopped.
const CLI::App& InnermostCommand(const CLI::App& app) {
  const std::vector<CLI::App*> named = app.get_subcommands();
  return named.empty() ? app : InnermostCommand(*named.back());
}

std::string FullName(const CLI::App& command) {
  const CLI::App* parent = command.get_parent();
  return parent == nullptr ? command.get_name()
                           : FullName(*parent) + " " + command.get_name();
}

// Parsing may stop before it reaches --format, and a script wants its error in
// the format that it asked for all the same.
OutputFormat FormatAskedFor(const std::vector<std::string>& argv) {
  for (size_t i = 1; i < argv.size(); ++i) {
    if (argv[i] == "--format=json" ||
        (argv[i] == "json" && argv[i - 1] == "--format")) {
      return OutputFormat::kJson;
    }
  }
  return OutputFormat::kTable;
}

// Prints the result and returns the exit code.
int Finish(OutputFormat format, const std::string& command,
           const CommandOutcome& outcome, Terminal& terminal) {
  terminal.EndProgress();
  const int error =
      WriteStdout(FormatResult(format, command, outcome, terminal.warnings()));
  if (!outcome.error_code.empty()) {
    terminal.Error(outcome.error_message);
    return outcome.exit_code;
  }
  if (error == 0) {
    return 0;
  }
  // A reader like `head` that has seen enough needs no message.
  if (error != EPIPE) {
    terminal.Error(std::string("cannot write the result to stdout: ") +
                   std::strerror(error));
  }
  return kExitStorage;
}

int FinishUsageError(const CLI::App& app, const CLI::ParseError& error,
                     const std::vector<std::string>& argv) {
  const CLI::App& command = InnermostCommand(app);
  const std::vector<std::string> rest = app.remaining(true);
  std::string message = error.what();
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr &&
      !rest.empty()) {
    const bool names_command =
        rest.front().rfind("-", 0) != 0 && !command.get_subcommands({}).empty();
    message = (names_command ? "no command '" : "unexpected argument '") +
              rest.front() + "'" + Suggestion(rest.front(), command);
  }
  // What CLI11 says may span lines.
  std::replace(message.begin(), message.end(), '\n', ' ');
  CommandOutcome outcome;
  outcome.exit_code = kExitUsage;
  outcome.error_code = "usage";
  outcome.error_message = message + " (see '" + FullName(command) + " --help')";
  Terminal terminal(LogLevel::kInfo);
  const std::string full_name = FullName(command);
  const size_t space = full_name.find(' ');
  return Finish(FormatAskedFor(argv),
                space == std::string::npos ? "" : full_name.substr(space + 1),
                outcome, terminal);
}

// Prints text that was asked for.
int FinishText(const std::string& text) {
  CommandOutcome outcome;
  outcome.result.text = text;
  Terminal terminal(LogLevel::kInfo);
  return Finish(OutputFormat::kTable, "", outcome, terminal);
}

std::string VersionText(bool verbose) {
  std::string text =
      "fedlb " FEDLB_VERSION "\nLibTorch " FEDLB_TORCH_VERSION "\n";
  if (verbose) {
    text += "fingerprint " FEDLB_BUILD_FINGERPRINT "\n";
  }
  return text;
}

int RunParsed(const ParsedCommand& parsed,
              const std::vector<std::string>& argv) {
  Terminal terminal(parsed.common.quiet           ? LogLevel::kError
                    : parsed.common.verbosity > 0 ? LogLevel::kDebug
                                                  : LogLevel::kInfo);
  if (parsed.name == "train" || parsed.name == "sweep" ||
      parsed.name == "teacher-fit") {
    InstallStopSignals();
  }
  CommandContext context = {parsed.common, argv, terminal, stop, stop_signal};
  CommandOutcome outcome;
  // By its full path: a sanitizer's dlopen does not see the executable's
  // RUNPATH. Never closed: LibTorch does not survive unloading.
  std::error_code no_such_link;
  const std::filesystem::path program =
      std::filesystem::read_symlink("/proc/self/exe", no_such_link);
  const std::filesystem::path path =
      program.parent_path().parent_path() / "lib" / "libfedlb_commands.so";
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  void* symbol =
      library != nullptr ? dlsym(library, kRunCommandSymbol) : nullptr;
  if (symbol == nullptr) {
    outcome.exit_code = kExitRuntime;
    outcome.error_code = "runtime";
    outcome.error_message =
        std::string("this installation is incomplete: ") + dlerror();
  } else {
    reinterpret_cast<RunCommandFunction*>(symbol)(parsed, context, outcome);
  }
  return Finish(parsed.common.format, parsed.name, outcome, terminal);
}

// The commands that the parser answers by itself, read-only and without a
// library.
void SetUpCompletion(CLI::App& app, std::string& shell) {
  CLI::App* completion = app.add_subcommand(
      "completion", "Print the script that completes fedlb's commands");
  completion->add_option("shell", shell, "bash, zsh or fish")
      ->check(CLI::IsMember({"bash", "zsh", "fish"}))
      ->type_name("SHELL")
      ->required();
}

int Main(int argc, char** argv) {
  OccupyStandardStreams();
  // Reports a reader that has gone away as an error of write().
  std::signal(SIGPIPE, SIG_IGN);
  const std::vector<std::string> arguments(argv, argv + argc);

  CLI::App app("Large-batch federated learning", "fedlb");
  bool version = false;
  int verbosity = 0;
  app.add_flag("--version", version, "Print the version, with -v all of it");
  app.add_flag("-v,--verbose", verbosity, "Log more");
  app.require_subcommand(0, 1);

  ParsedCommand parsed;
  SetUpPlugins(app, parsed);
  SetUpConfig(app, parsed);
  SetUpTrain(app, parsed);
  SetUpAggregate(app, parsed);
  SetUpEvaluate(app, parsed);
  SetUpData(app, parsed);
  SetUpCerts(app, parsed);
  SetUpDoctor(app, parsed);
  SetUpProfile(app, parsed);
  SetUpReport(app, parsed);
  SetUpSweep(app, parsed);
  SetUpTeacherFit(app, parsed);
  std::string shell;
  SetUpCompletion(app, shell);

  // Before parsing: what is being typed need not be a whole command.
  if (argc > 1 && arguments[1] == kCompleteCommand) {
    return FinishText(
        Complete(app, {arguments.begin() + 2, arguments.end()}));
  }
  if (argc == 2 && arguments[1] == kManCommand) {
    return FinishText(ManPage(app, FEDLB_VERSION));
  }

  try {
    app.parse(argc, argv);
    if (version) {
      return FinishText(VersionText(verbosity > 0));
    }
    if (!shell.empty()) {
      return FinishText(CompletionScript(shell));
    }
    if (parsed.name.empty()) {
      throw CLI::RequiredError("a command");
    }
  } catch (const CLI::CallForHelp&) {
    return FinishText(app.help());
  } catch (const CLI::ParseError& error) {
    return FinishUsageError(app, error, arguments);
  }
  return RunParsed(parsed, arguments);
}

}  // namespace
}  // namespace fedlb::cli

int main(int argc, char** argv) {
  try {
    return fedlb::cli::Main(argc, argv);
  } catch (const std::exception& error) {
    fedlb::cli::Terminal(fedlb::LogLevel::kInfo).Error(error.what());
  } catch (...) {
    fedlb::cli::Terminal(fedlb::LogLevel::kInfo).Error("unknown exception");
  }
  return fedlb::cli::kExitRuntime;
}
