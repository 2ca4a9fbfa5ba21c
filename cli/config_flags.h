// The flags by which a command takes a configuration.

#ifndef FEDLB_CLI_CONFIG_FLAGS_H_
#define FEDLB_CLI_CONFIG_FLAGS_H_

#include <string>
#include <vector>

namespace CLI {
class App;
}  // namespace CLI

namespace fedlb::cli {

struct ConfigFlags {
  std::vector<std::string> configs;  // --config
  std::vector<std::string> sets;     // --set
};

// Adds --config and --set to `command`; `flags` outlives it.
void AddConfigFlags(CLI::App& command, ConfigFlags& flags);

}  // namespace fedlb::cli

#endif  // FEDLB_CLI_CONFIG_FLAGS_H_
