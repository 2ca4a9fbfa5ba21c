#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "config_command.h"
#include "config_loading.h"
#include "fedlb/config.h"
#include "fedlb/experiment_config.h"
#include "fedlb/registry.h"
#include "fedlb/status.h"

namespace fedlb::cli {
namespace {

using Json = nlohmann::ordered_json;

Json ToJson(const ConfigValue& value) {
  if (const bool* flag = value.As<bool>()) {
    return *flag;
  }
  if (const int64_t* integer = value.As<int64_t>()) {
    return *integer;
  }
  if (const double* number = value.As<double>()) {
    return *number;
  }
  if (const std::string* text = value.As<std::string>()) {
    return *text;
  }
  if (const auto* array = value.As<ConfigValue::Array>()) {
    Json list = Json::array();
    for (const ConfigValue& element : *array) {
      list.push_back(ToJson(element));
    }
    return list;
  }
  Json object = Json::object();
  for (const auto& [key, inner] : value.As<ConfigTable>()->values()) {
    object[key] = ToJson(inner);
  }
  return object;
}

// Adds "section.key": origin for every value that is not a table.
void AddOrigins(const ConfigTable& table, const std::string& prefix,
                Json& origins) {
  for (const auto& [key, value] : table.values()) {
    const std::string path = absl::StrCat(prefix, key);
    if (const auto* inner = value.As<ConfigTable>()) {
      AddOrigins(*inner, absl::StrCat(path, "."), origins);
    } else {
      origins[path] = value.origin();
    }
  }
}

// `text` as comment lines of at most 80 columns.
std::string Comment(absl::string_view text) {
  constexpr size_t kWidth = 80;
  std::string lines;
  std::string line = "#";
  for (const absl::string_view word : absl::StrSplit(text, ' ')) {
    if (line.size() > 1 && line.size() + 1 + word.size() > kWidth) {
      absl::StrAppend(&lines, line, "\n");
      line = "#";
    }
    absl::StrAppend(&line, " ", word);
  }
  return absl::StrCat(lines, line, "\n");
}

// A setting with what it means; commented out where it is the default, so that
// what is left says what this experiment is about.
std::string DescribeSetting(const ParamInfo& info, const ConfigValue& value) {
  std::string text = Comment(
      info.requirement.empty()
          ? info.description
          : absl::StrCat(info.description, " (", info.requirement, ")"));
  const std::string written = value.ToString();
  absl::StrAppend(&text, written == info.default_value ? "# " : "", info.name,
                  " = ", written, "\n");
  return text;
}

std::string DescribeSettings(const std::vector<ParamInfo>& params,
                             const ConfigTable& table) {
  std::string text;
  for (const ParamInfo& info : params) {
    if (const ConfigValue* value = table.Find(info.name)) {
      absl::StrAppend(&text, DescribeSetting(info, *value));
    }
  }
  return text;
}

std::string Template(const ExperimentConfig& config,
                     const ComponentRegistry& registry) {
  std::string text = Comment(
      "A configuration for fedlb train. Settings that are commented out have "
      "their default. `fedlb plugins describe NAME` tells more of a "
      "component.");
  for (const SectionInfo& section : Sections()) {
    if (section.section.empty()) {
      absl::StrAppend(&text, "\n",
                      DescribeSettings(section.params, config.resolved));
      continue;
    }
    const ConfigValue* value = config.resolved.Find(section.section);
    if (value == nullptr) {
      continue;  // [server_optimizer] where no round has a use for it
    }
    const ConfigTable& table = *value->As<ConfigTable>();
    absl::StrAppend(&text, "\n[", section.section, "]\n");
    if (!section.kind.empty()) {
      const std::string name = *table.Find("name")->As<std::string>();
      const auto entry = registry.Find(section.kind, name);
      absl::StrAppend(
          &text,
          Comment(absl::StrCat(
              "One of ", absl::StrJoin(registry.Names(section.kind), ", "),
              ".")),
          "name = ", ConfigValue(name).ToString(), "\n",
          DescribeSettings((*entry)->params, table));
    }
    absl::StrAppend(&text, DescribeSettings(section.params, table));
  }
  return text;
}

// Never over a file that is there: it may be somebody's experiment.
absl::Status WriteNewFile(const std::string& path, const std::string& text) {
  const int fd =
      open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0) {
    return StorageError(absl::StrCat(path, ": cannot be made: ",
                                     strerror(errno),
                                     "; choose another file"));
  }
  const ssize_t written = write(fd, text.data(), text.size());
  const int cause = errno;
  if (close(fd) != 0 || written != static_cast<ssize_t>(text.size())) {
    unlink(path.c_str());
    return StorageError(
        absl::StrCat(path, ": cannot be written: ", strerror(cause)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status RunConfigShow(const ConfigShowFlags& flags,
                           CommandContext& context, CommandResult& result) {
  ComponentRegistry registry;
  FEDLB_ASSIGN_OR_RETURN(
      const ExperimentConfig config,
      LoadExperimentConfig(flags.config, context.flags, registry));
  result.text = PrintConfig(config, true);
  result.data["config"] = ToJson(ConfigValue(config.resolved));
  Json origins = Json::object();
  AddOrigins(config.resolved, "", origins);
  result.data["origins"] = std::move(origins);
  return absl::OkStatus();
}

absl::Status RunConfigNew(const ConfigNewFlags& flags, CommandContext& context,
                          CommandResult& result) {
  ComponentRegistry registry;
  FEDLB_ASSIGN_OR_RETURN(
      const ExperimentConfig config,
      LoadExperimentConfig(flags.config, context.flags, registry));
  const std::string text = Template(config, registry);
  if (flags.file.empty()) {
    result.text = text;
    result.data["toml"] = text;
    return absl::OkStatus();
  }
  FEDLB_RETURN_IF_ERROR(WriteNewFile(flags.file, text));
  result.data["file"] = flags.file;
  result.text = absl::StrCat("wrote ", flags.file,
                             "; try it with: fedlb train --dry-run --config ",
                             flags.file, "\n");
  return absl::OkStatus();
}

}  // namespace fedlb::cli
