#include "command.h"

#include <map>

#include <CLI/CLI.hpp>

namespace fedlb::cli {

void AddCommand(CLI::App& command, std::any flags, bool with_plugins,
                ParsedCommand& parsed) {
  static const std::map<std::string, OutputFormat> kFormats = {
      {"table", OutputFormat::kTable},
      {"json", OutputFormat::kJson},
      {"jsonl", OutputFormat::kJsonl},
      {"csv", OutputFormat::kCsv}};
  if (with_plugins) {
    command
        .add_option("--plugin", parsed.common.plugins,
                    "Plugin to load; repeatable")
        ->allow_extra_args(false)
        ->type_name("FILE");
    command
        .add_option("--plugin-dir", parsed.common.plugin_dirs,
                    "Folder of plugins to load; repeatable")
        ->allow_extra_args(false)
        ->type_name("DIR");
  }
  command
      .add_option_function<std::string>(
          "--format",
          [&parsed](const std::string& name) {
            parsed.common.format = kFormats.at(name);
          },
          "Result as table, json, jsonl or csv")
      ->check(CLI::IsMember({"table", "json", "jsonl", "csv"}))
      ->type_name("FORMAT");
  command.add_flag("-q,--quiet", parsed.common.quiet,
                   "No progress and no log but errors");
  command.add_flag("-v,--verbose", parsed.common.verbosity, "Log more");

  std::string name = command.get_name();
  for (CLI::App* parent = command.get_parent();
       parent != nullptr && parent->get_parent() != nullptr;
       parent = parent->get_parent()) {
    name = parent->get_name() + " " + name;
  }
  command.callback([&parsed, name, flags = std::move(flags)] {
    parsed.name = name;
    parsed.flags = flags;
  });
}

std::string NotEmpty(const std::string& value) {
  return value.empty() ? "is empty" : "";
}

}  // namespace fedlb::cli
