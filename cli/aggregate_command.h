// `fedlb aggregate`: combines update files into new weights.

#ifndef FEDLB_CLI_AGGREGATE_COMMAND_H_
#define FEDLB_CLI_AGGREGATE_COMMAND_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "command.h"
#include "config_flags.h"

namespace fedlb::cli {

struct AggregateFlags {
  std::vector<std::string> updates;  // paths, patterns, "-"
  ConfigFlags config;
  std::string rule;
  std::string base;
  std::string output;
  std::string state;
  std::string kind;
  std::string weights;
  int64_t threads = 0;
  bool strict = false;
  bool dry_run = false;
};

void SetUpAggregate(CLI::App& app, ParsedCommand& parsed);

absl::Status RunAggregate(const AggregateFlags& flags, CommandContext& context,
                          CommandResult& result);

}  // namespace fedlb::cli

#endif  // FEDLB_CLI_AGGREGATE_COMMAND_H_
