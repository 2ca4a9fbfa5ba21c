#include "config_flags.h"

#include <CLI/CLI.hpp>

namespace fedlb::cli {

void AddConfigFlags(CLI::App& command, ConfigFlags& flags) {
  command
      .add_option("-c,--config", flags.configs,
                  "TOML file; repeatable, later files win")
      ->allow_extra_args(false)
      ->type_name("FILE");
  command
      .add_option("--set", flags.sets,
                  "One setting, like optimizer.lr=0.1; repeatable, later ones "
                  "win over earlier ones and over files")
      ->allow_extra_args(false)
      ->type_name("KEY=VALUE");
}

}  // namespace fedlb::cli
