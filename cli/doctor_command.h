// `fedlb doctor`: checks whether this machine and installation are fit to train.

#ifndef FEDLB_CLI_DOCTOR_COMMAND_H_
#define FEDLB_CLI_DOCTOR_COMMAND_H_

#include <string>

#include "absl/status/status.h"
#include "command.h"

namespace fedlb::cli {

struct DoctorFlags {
  std::string folder = ".";
};

void SetUpDoctor(CLI::App& app, ParsedCommand& parsed);

absl::Status RunDoctor(const DoctorFlags& flags, CommandContext& context,
                       CommandResult& result);

}  // namespace fedlb::cli

#endif  // FEDLB_CLI_DOCTOR_COMMAND_H_
