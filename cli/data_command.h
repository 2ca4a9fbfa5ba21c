// `fedlb data`: what a dataset holds and how a partition deals it out.

#ifndef FEDLB_CLI_DATA_COMMAND_H_
#define FEDLB_CLI_DATA_COMMAND_H_

#include <string>

#include "absl/status/status.h"
#include "command.h"
#include "config_flags.h"

namespace fedlb::cli {

struct DataInfoFlags {
  ConfigFlags config;
};

struct DataPartitionFlags {
  ConfigFlags config;
  std::string picture;
};

void SetUpData(CLI::App& app, ParsedCommand& parsed);

absl::Status RunDataInfo(const DataInfoFlags& flags, CommandContext& context,
                         CommandResult& result);
absl::Status RunDataPartition(const DataPartitionFlags& flags,
                              CommandContext& context, CommandResult& result);

}  // namespace fedlb::cli

#endif  // FEDLB_CLI_DATA_COMMAND_H_
