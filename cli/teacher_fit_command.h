// fedlb teacher-fit: fits a teacher to a student's first rounds.

#ifndef FEDLB_CLI_TEACHER_FIT_COMMAND_H_
#define FEDLB_CLI_TEACHER_FIT_COMMAND_H_

#include <string>

#include "command.h"
#include "config_flags.h"

namespace fedlb::cli {

struct TeacherFitFlags {
  ConfigFlags config;
  std::string output;
  std::string record;
  std::string pairs;
  std::string run_dir;
  std::string resume;
  bool dry_run = false;
};

void SetUpTeacherFit(CLI::App& app, ParsedCommand& parsed);
absl::Status RunTeacherFit(const TeacherFitFlags& flags,
                           CommandContext& context, CommandResult& result);

}  // namespace fedlb::cli

#endif  // FEDLB_CLI_TEACHER_FIT_COMMAND_H_
