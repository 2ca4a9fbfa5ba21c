// `fedlb train`: runs an experiment, or says what running it would take.

#ifndef FEDLB_CLI_TRAIN_COMMAND_H_
#define FEDLB_CLI_TRAIN_COMMAND_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "command.h"
#include "config_flags.h"
#include "role_flags.h"

namespace fedlb::cli {

struct TrainFlags {
  ConfigFlags config;
  std::string init;         // for model.init
  bool trust_file = false;  // for model.trust_file
  std::string output;
  std::string resume;
  std::string profile;
  bool dry_run = false;
  RoleFlags role;
  int64_t spawn = 0;  // client processes; 0 for none
};

void SetUpTrain(CLI::App& app, ParsedCommand& parsed);

absl::Status RunTrain(const TrainFlags& flags, CommandContext& context,
                      CommandResult& result);

}  // namespace fedlb::cli

#endif  // FEDLB_CLI_TRAIN_COMMAND_H_
