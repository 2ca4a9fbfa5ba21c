// The way from the executable into the library fedlb_commands.

#ifndef FEDLB_CLI_COMMANDS_H_
#define FEDLB_CLI_COMMANDS_H_

#include <string>

#include "command.h"

namespace fedlb::cli {

// How a command ended.
struct CommandOutcome {
  int exit_code = 0;
  std::string error_code;     // "config", "input_file", ...; empty: success
  std::string error_message;  // what, where, and the fix
  CommandResult result;
};

// The one symbol that the library exports. Both sides come from one build, so
// that C++ types may cross. Never throws.
using RunCommandFunction = void(const ParsedCommand& command,
                                CommandContext& context,
                                CommandOutcome& outcome);
inline constexpr char kRunCommandSymbol[] = "fedlb_run_command";

}  // namespace fedlb::cli

#endif  // FEDLB_CLI_COMMANDS_H_
