#include "config_command.h"

#include <memory>

#include <CLI/CLI.hpp>

namespace fedlb::cli {

void SetUpConfig(CLI::App& app, ParsedCommand& parsed) {
  CLI::App* config =
      app.add_subcommand("config", "Look at the settings of a run, or begin a file");
  config->require_subcommand(1);

  auto flags = std::make_shared<ConfigShowFlags>();
  CLI::App* show = config->add_subcommand(
      "show",
      "Print every setting as TOML, with where it comes from; fed back with "
      "--config it gives the same run");
  AddConfigFlags(*show, flags->config);
  AddCommand(*show, flags, true, parsed);

  auto new_flags = std::make_shared<ConfigNewFlags>();
  CLI::App* begin = config->add_subcommand(
      "new",
      "Write a configuration with every setting, its default and what it means; "
      "--set model.name=mlp and the like choose the components");
  begin->add_option("file", new_flags->file, "File to make; stdout without one")
      ->type_name("FILE");
  AddConfigFlags(*begin, new_flags->config);
  AddCommand(*begin, new_flags, true, parsed);
}

}  // namespace fedlb::cli
