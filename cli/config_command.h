// `fedlb config`: shows what a run would be configured with.

#ifndef FEDLB_CLI_CONFIG_COMMAND_H_
#define FEDLB_CLI_CONFIG_COMMAND_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "command.h"

namespace fedlb::cli {

struct ConfigShowFlags {
  std::vector<std::string> configs;
  std::vector<std::string> sets;
};

void SetUpConfig(CLI::App& app, ParsedCommand& parsed);

absl::Status RunConfigShow(const ConfigShowFlags& flags,
                           CommandContext& context, CommandResult& result);

}  // namespace fedlb::cli

#endif  // FEDLB_CLI_CONFIG_COMMAND_H_
