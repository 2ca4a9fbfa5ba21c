// `fedlb plugins`: lists, describes, checks and begins plugins.

#ifndef FEDLB_CLI_PLUGINS_COMMAND_H_
#define FEDLB_CLI_PLUGINS_COMMAND_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "command.h"

namespace fedlb::cli {

struct PluginsListFlags {
  std::string kind;
};

struct PluginsDescribeFlags {
  std::string name;
  std::string kind;
  bool all = false;
};

struct PluginsCheckFlags {
  std::string file;
  std::vector<std::string> sets;
};

struct PluginsNewFlags {
  std::string kind;
  std::string name;
  std::string directory;
};

void SetUpPlugins(CLI::App& app, ParsedCommand& parsed);

absl::Status RunPluginsList(const PluginsListFlags& flags,
                            CommandContext& context, CommandResult& result);
absl::Status RunPluginsDescribe(const PluginsDescribeFlags& flags,
                                CommandContext& context, CommandResult& result);
absl::Status RunPluginsCheck(const PluginsCheckFlags& flags,
                             CommandContext& context, CommandResult& result);
absl::Status RunPluginsNew(const PluginsNewFlags& flags,
                           CommandContext& context, CommandResult& result);

}  // namespace fedlb::cli

#endif  // FEDLB_CLI_PLUGINS_COMMAND_H_
