// Loads the plugins that a command line and a configuration ask for.

#ifndef FEDLB_CLI_PLUGIN_SET_H_
#define FEDLB_CLI_PLUGIN_SET_H_

#include "absl/status/status.h"
#include "command.h"
#include "fedlb/config_table.h"
#include "fedlb/registry.h"

namespace fedlb::cli {

// Loads what --plugin and --plugin-dir name, and the default folders.
absl::Status LoadPluginsFor(const CommonFlags& flags,
                            ComponentRegistry& registry);

// The same with what the key `plugins` of `config` names. The files of --plugin
// are added to that key by full path, so that the configuration is complete.
absl::Status LoadPluginsFor(const CommonFlags& flags, ConfigTable& config,
                            ComponentRegistry& registry);

}  // namespace fedlb::cli

#endif  // FEDLB_CLI_PLUGIN_SET_H_
