// `fedlb config`: shows what a run would be configured with, and writes a first
// configuration.

#ifndef FEDLB_CLI_CONFIG_COMMAND_H_
#define FEDLB_CLI_CONFIG_COMMAND_H_

#include <string>

#include "absl/status/status.h"
#include "command.h"
#include "config_flags.h"

namespace fedlb::cli {

struct ConfigShowFlags {
  ConfigFlags config;
};

struct ConfigNewFlags {
  ConfigFlags config;
  std::string file;
};

void SetUpConfig(CLI::App& app, ParsedCommand& parsed);

absl::Status RunConfigShow(const ConfigShowFlags& flags,
                           CommandContext& context, CommandResult& result);
absl::Status RunConfigNew(const ConfigNewFlags& flags, CommandContext& context,
                          CommandResult& result);

}  // namespace fedlb::cli

#endif  // FEDLB_CLI_CONFIG_COMMAND_H_
