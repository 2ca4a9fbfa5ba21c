// From the flags of a command to a configuration with its plugins loaded.

#ifndef FEDLB_CLI_CONFIG_LOADING_H_
#define FEDLB_CLI_CONFIG_LOADING_H_

#include <string>

#include "absl/status/statusor.h"
#include "command.h"
#include "config_flags.h"
#include "fedlb/experiment_config.h"
#include "fedlb/registry.h"

namespace fedlb::cli {

// The layers of `flags` and the environment, with the plugins that they and
// `common` name loaded into `registry`.
absl::StatusOr<ExperimentConfig> LoadExperimentConfig(
    const ConfigFlags& flags, const CommonFlags& common,
    ComponentRegistry& registry);

// The path of a run's config.toml. kStorage when there is none; `flag` is how
// the user named the folder.
absl::StatusOr<std::string> FindRunConfig(const std::string& run_dir,
                                          const std::string& flag);

}  // namespace fedlb::cli

#endif  // FEDLB_CLI_CONFIG_LOADING_H_
