// fedlb sweep: many runs of an experiment, and one table of what came out.

#ifndef FEDLB_CLI_SWEEP_COMMAND_H_
#define FEDLB_CLI_SWEEP_COMMAND_H_

#include <cstdint>
#include <string>

#include "command.h"
#include "config_flags.h"

namespace fedlb::cli {

struct SweepFlags {
  ConfigFlags config;
  std::string study;
  std::string seeds;
  std::string tuning_seeds;
  std::string output;
  int64_t jobs = 0;  // 0: one per processor
  bool dry_run = false;
};

void SetUpSweep(CLI::App& app, ParsedCommand& parsed);
absl::Status RunSweep(const SweepFlags& flags, CommandContext& context,
                      CommandResult& result);

}  // namespace fedlb::cli

#endif  // FEDLB_CLI_SWEEP_COMMAND_H_
