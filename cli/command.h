// What a subcommand consists of: flags for the parser and a function that runs.
//
// LibTorch takes a quarter of a second to load, so bin/fedlb itself does not
// link it: the executable holds the parser, and the library fedlb_commands,
// which it loads once a command line has been understood, holds the functions
// that run. A subcommand `foo` is therefore three files:
//
//   foo_command.h    struct FooFlags; SetUpFoo(); RunFoo()
//   foo_command.cc   SetUpFoo: CLI11, no other header of fedlb's core
//   foo_run.cc       RunFoo: core, no CLI11
//
// and one line each in main.cc (SetUpFoo), commands.cc (RunFoo) and
// CMakeLists.txt.

#ifndef FEDLB_CLI_COMMAND_H_
#define FEDLB_CLI_COMMAND_H_

#include <any>
#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/status/status.h"

namespace CLI {
class App;
}  // namespace CLI

namespace fedlb::cli {

class Terminal;

enum class OutputFormat { kTable, kJson, kJsonl, kCsv };

// Flags that every subcommand understands.
struct CommonFlags {
  OutputFormat format = OutputFormat::kTable;
  bool quiet = false;
  int verbosity = 0;
  std::vector<std::string> plugins;      // --plugin
  std::vector<std::string> plugin_dirs;  // --plugin-dir
};

// What a command leaves for stdout.
struct CommandResult {
  // The `data` of the JSON envelope. A NaN or infinity is printed as null.
  nlohmann::ordered_json data = nlohmann::ordered_json::object();
  // What --format table prints; table.h helps to write it.
  std::string text;
  // The key of `data` under which the array of records stands that --format
  // jsonl and csv print line by line; empty: `data` is the only record.
  std::string records;
};

// What a running command may use besides its own flags.
struct CommandContext {
  const CommonFlags& flags;
  const std::vector<std::string>& argv;
  Terminal& terminal;  // a Logger, and the progress bar
  // 1 after the first SIGINT or SIGTERM; the second ends the process.
  const std::atomic<int>& stop;
  // Which signal that was, 0 for none.
  const std::atomic<int>& stop_signal;
};

// Runs after parsing. Fills in `result` as far as it gets, also on failure; the
// status decides over the exit code (FailureOf in fedlb/status.h). Prints
// nothing itself. Exceptions are caught by the caller.
template <typename Flags>
using RunFunction = absl::Status (*)(const Flags& flags,
                                     CommandContext& context,
                                     CommandResult& result);

// The command line as the parser understood it.
struct ParsedCommand {
  std::string name;  // "train", "config show"
  std::any flags;    // std::shared_ptr<Flags> of that command
  CommonFlags common;
};

// Gives `command`, a subcommand without subcommands of its own, the common
// flags, and makes it set `parsed` when it was named on the command line.
// `with_plugins` adds --plugin and --plugin-dir.
//
//   auto flags = std::make_shared<FooFlags>();
//   CLI::App* foo = app.add_subcommand("foo", "Does foo");
//   foo->add_option("--depth", flags->depth, "How deep");
//   AddCommand(*foo, flags, true, parsed);
void AddCommand(CLI::App& command, std::any flags, bool with_plugins,
                ParsedCommand& parsed);

// A check for flags that take a path or a list: `--resume "$DIR"` with DIR
// unset must not start another run. Returns what is wrong, or "".
std::string NotEmpty(const std::string& value);

}  // namespace fedlb::cli

#endif  // FEDLB_CLI_COMMAND_H_
