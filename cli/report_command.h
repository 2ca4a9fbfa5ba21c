// `fedlb report`: the page of a run, or one that compares several.

#ifndef FEDLB_CLI_REPORT_COMMAND_H_
#define FEDLB_CLI_REPORT_COMMAND_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "command.h"

namespace fedlb::cli {

struct ReportFlags {
  std::vector<std::string> run_dirs;
  std::string output;
};

void SetUpReport(CLI::App& app, ParsedCommand& parsed);

absl::Status RunReport(const ReportFlags& flags, CommandContext& context,
                       CommandResult& result);

}  // namespace fedlb::cli

#endif  // FEDLB_CLI_REPORT_COMMAND_H_
