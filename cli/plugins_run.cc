#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "fedlb/config.h"
#include "fedlb/config_table.h"
#include "fedlb/experiment_config.h"
#include "fedlb/plugin_loader.h"
#include "fedlb/registry.h"
#include "fedlb/status.h"
#include "fedlb/testing/conformance.h"
#include "plugin_set.h"
#include "plugin_skeleton.h"
#include "plugins_command.h"
#include "table.h"
#include "terminal.h"

namespace fedlb::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

std::string Hint(const std::string& word,
                 const std::vector<std::string>& candidates) {
  const std::string nearest = NearestName(word, candidates);
  return nearest.empty() ? "" : absl::StrCat("; did you mean ", nearest, "?");
}

std::vector<std::string> KindsOf(const ComponentRegistry& registry) {
  std::vector<std::string> kinds;
  for (const ComponentEntry* entry : registry.entries()) {
    if (kinds.empty() || kinds.back() != entry->kind) {
      kinds.push_back(entry->kind);
    }
  }
  return kinds;
}

// OK when `kind` is empty or some component is of that kind.
absl::Status CheckKind(const std::string& kind,
                       const ComponentRegistry& registry) {
  const std::vector<std::string> kinds = KindsOf(registry);
  if (kind.empty() ||
      std::find(kinds.begin(), kinds.end(), kind) != kinds.end()) {
    return absl::OkStatus();
  }
  return UsageError(absl::StrCat("no component is of the kind ", kind,
                                 "; have: ", absl::StrJoin(kinds, ", "),
                                 Hint(kind, kinds)));
}

Json ParamsJson(const std::vector<ParamInfo>& params) {
  Json list = Json::array();
  for (const ParamInfo& param : params) {
    list.push_back({{"name", param.name},
                    {"type", param.type},
                    {"default", param.default_value},
                    {"requirement", param.requirement},
                    {"description", param.description}});
  }
  return list;
}

std::string ParamsText(const std::vector<ParamInfo>& params) {
  if (params.empty()) {
    return "No parameters.\n";
  }
  std::vector<std::vector<std::string>> rows;
  for (const ParamInfo& param : params) {
    rows.push_back({param.name, param.type, param.default_value,
                    param.requirement.empty() ? "-" : param.requirement,
                    param.description});
  }
  return FormatTable({"PARAMETER", "TYPE", "DEFAULT", "MUST BE", "DESCRIPTION"},
                     rows);
}

Json ComponentJson(const ComponentEntry& entry) {
  return {{"kind", entry.kind},
          {"name", entry.name},
          {"plugin", entry.plugin},
          {"summary", entry.summary},
          {"parameters", ParamsJson(entry.params)}};
}

std::string ComponentText(const ComponentEntry& entry) {
  return absl::StrCat(entry.kind, " ", entry.name, " (plugin ", entry.plugin,
                      ")\n", entry.summary, "\n", ParamsText(entry.params));
}

Json SectionJson(const SectionInfo& section) {
  return {{"section", section.section},
          {"kind", section.kind},
          {"default", section.default_component},
          {"parameters", ParamsJson(section.params)}};
}

std::string SectionText(const SectionInfo& section) {
  std::string text = section.section.empty()
                         ? "keys before any section\n"
                         : absl::StrCat("section [", section.section, "]\n");
  if (!section.kind.empty()) {
    absl::StrAppend(&text, "Names a component of the kind ", section.kind,
                    ", by default ", section.default_component,
                    "; its parameters stand here too.\n");
  }
  if (section.kind.empty() || !section.params.empty()) {
    absl::StrAppend(&text, ParamsText(section.params));
  }
  return text;
}

void DescribeAll(const ComponentRegistry& registry, CommandResult& result) {
  std::vector<std::string> texts;
  result.data["sections"] = Json::array();
  for (const SectionInfo& section : Sections()) {
    result.data["sections"].push_back(SectionJson(section));
    texts.push_back(SectionText(section));
  }
  for (const ComponentEntry* entry : registry.entries()) {
    result.data["components"].push_back(ComponentJson(*entry));
    texts.push_back(ComponentText(*entry));
  }
  result.text = absl::StrJoin(texts, "\n");
}

// The one component that the flags name.
absl::StatusOr<const ComponentEntry*> FindComponent(
    const PluginsDescribeFlags& flags, const ComponentRegistry& registry) {
  FEDLB_RETURN_IF_ERROR(CheckKind(flags.kind, registry));
  std::vector<const ComponentEntry*> found;
  std::vector<std::string> names;
  for (const ComponentEntry* entry : registry.entries()) {
    if (!flags.kind.empty() && entry->kind != flags.kind) {
      continue;
    }
    names.push_back(entry->name);
    if (entry->name == flags.name) {
      found.push_back(entry);
    }
  }
  if (found.empty()) {
    return UsageError(
        absl::StrCat("no ", flags.kind.empty() ? "component" : flags.kind,
                     " is named ", flags.name, Hint(flags.name, names),
                     " (`fedlb plugins list` shows all of them)"));
  }
  if (found.size() > 1) {
    std::vector<std::string> kinds;
    for (const ComponentEntry* entry : found) {
      kinds.push_back(entry->kind);
    }
    return UsageError(absl::StrCat(flags.name,
                                   " is the name of several kinds; "
                                   "choose one with --kind: ",
                                   absl::StrJoin(kinds, ", ")));
  }
  return found.front();
}

// Options per component, from "name.key=value".
absl::StatusOr<std::map<std::string, ConfigTable>> OptionsFor(
    const std::vector<std::string>& sets, const ComponentRegistry& registry) {
  ConfigLayers layers;
  layers.environment = false;
  layers.sets = sets;
  FEDLB_ASSIGN_OR_RETURN(const ConfigTable table, LoadConfig(layers));
  std::vector<std::string> names;
  for (const ComponentEntry* entry : registry.entries()) {
    names.push_back(entry->name);
  }
  std::map<std::string, ConfigTable> options;
  for (const auto& [name, value] : table.values()) {
    const auto* component_options = value.As<ConfigTable>();
    if (component_options == nullptr ||
        std::find(names.begin(), names.end(), name) == names.end()) {
      return UsageError(absl::StrCat("--set ", name,
                                     ": the plugin has no component of this "
                                     "name; have: ",
                                     absl::StrJoin(names, ", ")));
    }
    options[name] = *component_options;
  }
  return options;
}

bool IsComponentName(const std::string& name) {
  return !name.empty() && name.size() <= 48 && absl::ascii_islower(name[0]) &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '_';
         });
}

absl::StatusOr<const KindSkeleton*> FindSkeleton(const std::string& kind) {
  std::vector<std::string> kinds;
  for (const KindSkeleton& skeleton : KindSkeletons()) {
    if (skeleton.kind == kind) {
      return &skeleton;
    }
    kinds.emplace_back(skeleton.kind);
  }
  return UsageError(absl::StrCat("no skeleton for the kind ", kind,
                                 "; have: ", absl::StrJoin(kinds, ", "),
                                 Hint(kind, kinds)));
}

absl::Status WriteNewFile(const fs::path& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  return file ? absl::OkStatus()
              : StorageError(absl::StrCat("cannot write ", path.string()));
}

// Where find_package(fedlb) finds this installation, when it is one.
std::string InstalledPrefix() {
  std::error_code error;
  const fs::path prefix =
      fs::read_symlink("/proc/self/exe", error).parent_path().parent_path();
  return fs::exists(prefix / "lib/cmake/fedlb/fedlb-config.cmake", error)
             ? prefix.string()
             : "<where fedlb is installed>";
}

}  // namespace

absl::Status RunPluginsList(const PluginsListFlags& flags,
                            CommandContext& context, CommandResult& result) {
  ComponentRegistry registry;
  FEDLB_RETURN_IF_ERROR(LoadPluginsFor(context.flags, registry));
  FEDLB_RETURN_IF_ERROR(CheckKind(flags.kind, registry));
  result.records = "components";
  result.data["components"] = Json::array();
  std::vector<std::vector<std::string>> rows;
  for (const ComponentEntry* entry : registry.entries()) {
    if (!flags.kind.empty() && entry->kind != flags.kind) {
      continue;
    }
    result.data["components"].push_back({{"kind", entry->kind},
                                         {"name", entry->name},
                                         {"plugin", entry->plugin},
                                         {"summary", entry->summary}});
    rows.push_back({entry->kind, entry->name, entry->plugin, entry->summary});
  }
  result.data["plugins"] = Json::array();
  for (const PluginRecord& plugin : registry.plugins()) {
    result.data["plugins"].push_back({{"name", plugin.name},
                                      {"version", plugin.version},
                                      {"path", plugin.path},
                                      {"fingerprint", plugin.fingerprint}});
  }
  result.text = FormatTable({"KIND", "NAME", "PLUGIN", "SUMMARY"}, rows);
  return absl::OkStatus();
}

absl::Status RunPluginsDescribe(const PluginsDescribeFlags& flags,
                                CommandContext& context,
                                CommandResult& result) {
  if (flags.name.empty() && !flags.all) {
    return UsageError("give the NAME of a component, or --all");
  }
  ComponentRegistry registry;
  FEDLB_RETURN_IF_ERROR(LoadPluginsFor(context.flags, registry));
  result.records = "components";
  result.data["components"] = Json::array();
  if (flags.all) {
    DescribeAll(registry, result);
    return absl::OkStatus();
  }
  FEDLB_ASSIGN_OR_RETURN(const ComponentEntry* entry,
                         FindComponent(flags, registry));
  result.data["components"].push_back(ComponentJson(*entry));
  result.text = ComponentText(*entry);
  return absl::OkStatus();
}

absl::Status RunPluginsCheck(const PluginsCheckFlags& flags,
                             CommandContext& context, CommandResult& result) {
  // The plugins of this installation stay out: the file may be the next version
  // of one of them.
  ComponentRegistry registry;
  PluginSearch search;
  search.use_defaults = false;
  search.files = context.flags.plugins;
  search.directories = context.flags.plugin_dirs;
  FEDLB_RETURN_IF_ERROR(LoadPlugins(search, registry));
  const size_t others = registry.plugins().size();
  FEDLB_RETURN_IF_ERROR(
      LoadPlugin(fs::absolute(flags.file).string(), registry));
  const PluginRecord& plugin = registry.plugins()[others];
  FEDLB_ASSIGN_OR_RETURN(const auto options, OptionsFor(flags.sets, registry));

  result.records = "checks";
  result.data["plugin"] = {{"name", plugin.name},
                           {"version", plugin.version},
                           {"path", plugin.path},
                           {"fingerprint", plugin.fingerprint}};
  result.data["checks"] = Json::array();
  std::map<std::string, int64_t> counts = {
      {"passed", 0}, {"failed", 0}, {"skipped", 0}};
  std::vector<std::vector<std::string>> rows;
  for (const ComponentEntry* entry : registry.entries()) {
    if (entry->plugin != plugin.name) {
      continue;
    }
    context.terminal.Info(
        absl::StrCat("checking ", entry->kind, " ", entry->name));
    conformance::Deviations deviations;
    if (const auto given = options.find(entry->name); given != options.end()) {
      deviations.options = given->second;
    }
    for (const auto& check :
         conformance::RunConformance(*entry, registry, deviations)) {
      const std::string outcome = check.skipped       ? "skipped"
                                  : check.status.ok() ? "passed"
                                                      : "failed";
      ++counts[outcome];
      result.data["checks"].push_back(
          {{"kind", entry->kind},
           {"name", entry->name},
           {"check", check.check},
           {"result", outcome},
           {"message", std::string(check.status.message())}});
      rows.push_back(
          {outcome, entry->kind, entry->name,
           check.status.ok()
               ? check.check
               : absl::StrCat(check.check, ": ", check.status.message())});
    }
  }
  for (const auto& [outcome, count] : counts) {
    result.data[outcome] = count;
  }
  const std::string summary =
      absl::StrCat(counts["passed"], " checks passed, ", counts["failed"],
                   " failed, ", counts["skipped"], " skipped");
  result.text = absl::StrCat(
      "plugin ", plugin.name, " ", plugin.version, ": ", summary, "\n",
      FormatTable({"RESULT", "KIND", "NAME", "CHECK"}, rows));
  if (counts["failed"] > 0) {
    return PluginRefusedError(absl::StrCat(
        "plugin ", plugin.path, " breaks promises of its kinds: ", summary));
  }
  return absl::OkStatus();
}

absl::Status RunPluginsNew(const PluginsNewFlags& flags,
                           CommandContext& /*context*/, CommandResult& result) {
  FEDLB_ASSIGN_OR_RETURN(const KindSkeleton* skeleton,
                         FindSkeleton(flags.kind));
  if (!IsComponentName(flags.name)) {
    return UsageError(
        absl::StrCat(flags.name,
                     " cannot be a name: use at most 48 lower-case letters, "
                     "digits and _, a letter first"));
  }
  const fs::path directory = flags.directory;
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) {
    return StorageError(absl::StrCat("cannot make ", directory.string(), ": ",
                                     error.message()));
  }
  // What is somebody's work already is not written over.
  if (!fs::is_empty(directory, error) || error) {
    return UsageError(absl::StrCat(directory.string(),
                                   " is not empty; choose another folder"));
  }
  result.records = "files";
  result.data["directory"] = directory.string();
  result.data["files"] = Json::array();
  for (const auto& [name, text] : RenderSkeleton(*skeleton, flags.name)) {
    const fs::path path = directory / name;
    FEDLB_RETURN_IF_ERROR(WriteNewFile(path, text));
    result.data["files"].push_back({{"path", path.string()}});
    absl::StrAppend(&result.text, path.string(), "\n");
  }
  const std::string build = (directory / "build").string();
  absl::StrAppend(&result.text, "\nBuild, test and check it:\n  cmake -S ",
                  directory.string(), " -B ", build,
                  " -DCMAKE_PREFIX_PATH=", InstalledPrefix(),
                  "\n  cmake --build ", build, "\n  ctest --test-dir ", build,
                  "\n  fedlb plugins check ", build,
                  "/lib/fedlb/plugins/fedlb_", flags.name, ".so\n");
  return absl::OkStatus();
}

}  // namespace fedlb::cli
