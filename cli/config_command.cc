#include "config_command.h"

#include <memory>

#include <CLI/CLI.hpp>

namespace fedlb::cli {

void SetUpConfig(CLI::App& app, ParsedCommand& parsed) {
  CLI::App* config =
      app.add_subcommand("config", "Look at the settings of a run");
  config->require_subcommand(1);

  auto flags = std::make_shared<ConfigShowFlags>();
  CLI::App* show = config->add_subcommand(
      "show",
      "Print every setting as TOML, with where it comes from; fed back with "
      "--config it gives the same run");
  show->add_option("-c,--config", flags->configs,
                   "TOML file; repeatable, later files win")
      ->allow_extra_args(false)
      ->type_name("FILE");
  show->add_option("--set", flags->sets,
                   "One setting, like optimizer.lr=0.1; repeatable, later "
                   "ones win over earlier ones and over files")
      ->allow_extra_args(false)
      ->type_name("KEY=VALUE");
  AddCommand(*show, flags, true, parsed);
}

}  // namespace fedlb::cli
