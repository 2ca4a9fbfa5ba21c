#include "plugin_set.h"

#include <string>

#include "fedlb/plugin_loader.h"

namespace fedlb::cli {

absl::Status LoadPluginsFor(const CommonFlags& flags, const ConfigTable* config,
                            ComponentRegistry& registry) {
  PluginSearch search;
  search.files = flags.plugins;
  search.directories = flags.plugin_dirs;
  const ConfigValue* plugins =
      config != nullptr ? config->Find("plugins") : nullptr;
  const ConfigValue::Array* list =
      plugins != nullptr ? plugins->As<ConfigValue::Array>() : nullptr;
  if (list != nullptr) {
    // A value of another type is refused with its origin when the
    // configuration is resolved, which needs the registry.
    for (const ConfigValue& value : *list) {
      if (const std::string* file = value.As<std::string>()) {
        search.files.push_back(*file);
      }
    }
  }
  return LoadPlugins(search, registry);
}

}  // namespace fedlb::cli
