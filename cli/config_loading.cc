#include "config_loading.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "fedlb/config.h"
#include "fedlb/status.h"
#include "plugin_set.h"

namespace fedlb::cli {

absl::StatusOr<ExperimentConfig> LoadExperimentConfig(
    const ConfigFlags& flags, const CommonFlags& common,
    ComponentRegistry& registry) {
  ConfigLayers layers;
  layers.files = flags.configs;
  layers.sets = flags.sets;
  FEDLB_ASSIGN_OR_RETURN(ConfigTable table, LoadConfig(layers));
  FEDLB_RETURN_IF_ERROR(LoadPluginsFor(common, table, registry));
  return ResolveExperiment(table, registry);
}

absl::StatusOr<std::string> FindRunConfig(const std::string& run_dir,
                                          const std::string& flag) {
  std::string path = run_dir + "/config.toml";
  if (access(path.c_str(), F_OK) != 0) {
    return StorageError(absl::StrCat(flag, " ", run_dir, ": not the folder of a ",
                                     "run (", path, ": ", strerror(errno),
                                     ")"));
  }
  return path;
}

}  // namespace fedlb::cli
