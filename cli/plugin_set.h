// Loads the plugins that a command line and a configuration ask for.

#ifndef FEDLB_CLI_PLUGIN_SET_H_
#define FEDLB_CLI_PLUGIN_SET_H_

#include "absl/status/status.h"
#include "command.h"
#include "fedlb/config_table.h"
#include "fedlb/registry.h"

namespace fedlb::cli {

// Loads what --plugin and --plugin-dir name, the key `plugins` of `config`
// where one is given, and the default folders.
absl::Status LoadPluginsFor(const CommonFlags& flags, const ConfigTable* config,
                            ComponentRegistry& registry);

}  // namespace fedlb::cli

#endif  // FEDLB_CLI_PLUGIN_SET_H_
