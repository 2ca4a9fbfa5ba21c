// `fedlb certs`: a certificate authority and certificates for a federation.

#ifndef FEDLB_CLI_CERTS_COMMAND_H_
#define FEDLB_CLI_CERTS_COMMAND_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "command.h"

namespace fedlb::cli {

struct CertsFlags {
  std::string folder;
  std::vector<std::string> hosts = {"localhost", "127.0.0.1"};
  int64_t clients = 0;
  std::vector<std::string> hosted;  // of each process: "0,3,6"
  int64_t days = 365;
};

void SetUpCerts(CLI::App& app, ParsedCommand& parsed);

absl::Status RunCerts(const CertsFlags& flags, CommandContext& context,
                      CommandResult& result);

}  // namespace fedlb::cli

#endif  // FEDLB_CLI_CERTS_COMMAND_H_
