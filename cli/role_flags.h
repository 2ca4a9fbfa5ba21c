// Flags that make a process a server or a host of clients: short for settings
// of [transport].

#ifndef FEDLB_CLI_ROLE_FLAGS_H_
#define FEDLB_CLI_ROLE_FLAGS_H_

#include <cstdint>
#include <string>
#include <vector>

namespace CLI {
class App;
}  // namespace CLI

namespace fedlb::cli {

struct RoleFlags {
  std::string role;
  std::string listen;
  std::string connect;
  std::vector<int64_t> client_ids;
  std::string state_dir;
  bool insecure = false;
};

void AddRoleFlags(CLI::App& command, RoleFlags& flags);

// The flags as settings, "section.key=value"; none when no flag was given.
std::vector<std::string> SettingsOf(const RoleFlags& flags);

}  // namespace fedlb::cli

#endif  // FEDLB_CLI_ROLE_FLAGS_H_
