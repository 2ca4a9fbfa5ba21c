// `fedlb profile`: which batch size a device can use, and which it should.

#ifndef FEDLB_CLI_PROFILE_COMMAND_H_
#define FEDLB_CLI_PROFILE_COMMAND_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "command.h"
#include "config_flags.h"
#include "role_flags.h"

namespace fedlb::cli {

struct ProfileFlags {
  ConfigFlags config;
  RoleFlags role;  // of a client, whose connection is measured
  std::string memory;
  int64_t max_batch = 0;
  bool memory_only = false;
  int64_t noise_rounds = 50;
  std::vector<int64_t> predict;
  std::string output;
  std::string report;                // HTML
  std::string advice;                // file for the TOML fragment
  std::vector<std::string> devices;  // profiles measured elsewhere
  int64_t global_batch = 0;
  // Of a network on paper; below 0: what the transport measures.
  double latency_ms = -1;
  double bandwidth_mbit = -1;
  double compression = 1;
};

void SetUpProfile(CLI::App& app, ParsedCommand& parsed);

absl::Status RunProfile(const ProfileFlags& flags, CommandContext& context,
                        CommandResult& result);

}  // namespace fedlb::cli

#endif  // FEDLB_CLI_PROFILE_COMMAND_H_
