#include "plugins_command.h"

#include <memory>

#include <CLI/CLI.hpp>

namespace fedlb::cli {
namespace {

void SetUpList(CLI::App& plugins, ParsedCommand& parsed) {
  auto flags = std::make_shared<PluginsListFlags>();
  CLI::App* list =
      plugins.add_subcommand("list", "List the components of all plugins");
  list->add_option("--kind", flags->kind, "Only components of this kind")
      ->type_name("KIND");
  AddCommand(*list, flags, true, parsed);
}

void SetUpDescribe(CLI::App& plugins, ParsedCommand& parsed) {
  auto flags = std::make_shared<PluginsDescribeFlags>();
  CLI::App* describe = plugins.add_subcommand(
      "describe", "Describe a component and its parameters");
  CLI::Option* name =
      describe->add_option("name", flags->name, "Name of the component")
          ->type_name("NAME");
  describe
      ->add_option("--kind", flags->kind,
                   "Its kind, where several kinds have the name")
      ->type_name("KIND");
  describe
      ->add_flag("--all", flags->all,
                 "Every component, and the sections of a configuration")
      ->excludes(name);
  AddCommand(*describe, flags, true, parsed);
}

void SetUpCheck(CLI::App& plugins, ParsedCommand& parsed) {
  auto flags = std::make_shared<PluginsCheckFlags>();
  CLI::App* check = plugins.add_subcommand(
      "check",
      "Load a plugin and hold each of its components against the promises of "
      "its kind");
  check->add_option("file", flags->file, "Plugin to check")
      ->type_name("FILE")
      ->required();
  check
      ->add_option("--set", flags->sets,
                   "Option of a component, like mean.weighting=uniform; "
                   "repeatable")
      ->allow_extra_args(false)
      ->type_name("NAME.KEY=VALUE");
  AddCommand(*check, flags, true, parsed);
}

void SetUpNew(CLI::App& plugins, ParsedCommand& parsed) {
  auto flags = std::make_shared<PluginsNewFlags>();
  CLI::App* command = plugins.add_subcommand(
      "new", "Write a plugin with one component that compiles and is tested");
  command->add_option("kind", flags->kind, "Kind of the component")
      ->type_name("KIND")
      ->required();
  command
      ->add_option("name", flags->name,
                   "Name of the component and of the plugin, like trimmed_mean")
      ->type_name("NAME")
      ->required();
  command->add_option("directory", flags->directory, "Folder to make")
      ->type_name("DIR")
      ->required();
  AddCommand(*command, flags, false, parsed);
}

}  // namespace

void SetUpPlugins(CLI::App& app, ParsedCommand& parsed) {
  CLI::App* plugins =
      app.add_subcommand("plugins", "List, describe, check and begin plugins");
  plugins->require_subcommand(1);
  SetUpList(*plugins, parsed);
  SetUpDescribe(*plugins, parsed);
  SetUpCheck(*plugins, parsed);
  SetUpNew(*plugins, parsed);
}

}  // namespace fedlb::cli
