#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "fedlb/config_table.h"
#include "fedlb/remote_transport.h"
#include "role_flags.h"

namespace fedlb::cli {

std::vector<std::string> SettingsOf(const RoleFlags& flags) {
  std::vector<std::string> sets;
  const auto add = [&sets](const char* key, const std::string& value) {
    sets.push_back(absl::StrCat("transport.", key, "=", value));
  };
  const auto quoted = [](const std::string& text) {
    return ConfigValue(text).ToString();
  };
  const bool is_client =
      flags.role == "client" || (flags.role.empty() && !flags.connect.empty());
  const bool is_server =
      flags.role == "server" || (flags.role.empty() && !flags.listen.empty());
  if (is_client || is_server) {
    add("name", quoted(kRemoteTransportName));
    add("role", is_client ? "\"client\"" : "\"server\"");
  }
  if (!flags.listen.empty()) {
    add("listen", quoted(flags.listen));
  }
  if (!flags.connect.empty()) {
    add("connect", quoted(flags.connect));
  }
  if (!flags.client_ids.empty()) {
    add("client_ids",
        absl::StrCat("[", absl::StrJoin(flags.client_ids, ", "), "]"));
  }
  if (!flags.state_dir.empty()) {
    add("state_dir", quoted(flags.state_dir));
  }
  if (flags.insecure) {
    add("insecure", "true");
  }
  return sets;
}

}  // namespace fedlb::cli
