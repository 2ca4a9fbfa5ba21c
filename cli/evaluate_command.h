// `fedlb evaluate`: measures weights on held-out examples.

#ifndef FEDLB_CLI_EVALUATE_COMMAND_H_
#define FEDLB_CLI_EVALUATE_COMMAND_H_

#include <string>

#include "absl/status/status.h"
#include "command.h"
#include "config_flags.h"

namespace fedlb::cli {

struct EvaluateFlags {
  std::string run_dir;
  ConfigFlags config;
  std::string weights;
  std::string export_to;
};

void SetUpEvaluate(CLI::App& app, ParsedCommand& parsed);

absl::Status RunEvaluate(const EvaluateFlags& flags, CommandContext& context,
                         CommandResult& result);

}  // namespace fedlb::cli

#endif  // FEDLB_CLI_EVALUATE_COMMAND_H_
