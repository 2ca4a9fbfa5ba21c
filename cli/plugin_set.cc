#include "plugin_set.h"

#include <algorithm>
#include <filesystem>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "fedlb/plugin_loader.h"

namespace fedlb::cli {
namespace {

absl::Status Load(std::vector<std::string> files, const CommonFlags& flags,
                  ComponentRegistry& registry) {
  PluginSearch search;
  search.files = std::move(files);
  search.directories = flags.plugin_dirs;
  return LoadPlugins(search, registry);
}

}  // namespace

absl::Status LoadPluginsFor(const CommonFlags& flags,
                            ComponentRegistry& registry) {
  return Load(flags.plugins, flags, registry);
}

absl::Status LoadPluginsFor(const CommonFlags& flags, ConfigTable& config,
                            ComponentRegistry& registry) {
  ConfigValue::Array listed;
  if (const ConfigValue* plugins = config.Find("plugins")) {
    const auto* list = plugins->As<ConfigValue::Array>();
    if (list == nullptr) {
      // Refused with its origin when the configuration is resolved, which needs
      // the registry.
      return LoadPluginsFor(flags, registry);
    }
    listed = *list;
  }
  for (const std::string& file : flags.plugins) {
    const ConfigValue path(
        absl::StrContains(file, '/')
            ? std::filesystem::absolute(file).lexically_normal().string()
            : file,
        "--plugin");
    if (std::find(listed.begin(), listed.end(), path) == listed.end()) {
      listed.push_back(path);
    }
  }
  std::vector<std::string> files;
  for (const ConfigValue& value : listed) {
    if (const auto* file = value.As<std::string>()) {
      files.push_back(*file);
    }
  }
  if (!flags.plugins.empty()) {
    config.Set("plugins", ConfigValue(std::move(listed), "--plugin"));
  }
  return Load(std::move(files), flags, registry);
}

}  // namespace fedlb::cli
