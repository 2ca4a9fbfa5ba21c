#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "config_command.h"
#include "fedlb/config.h"
#include "fedlb/experiment_config.h"
#include "fedlb/registry.h"
#include "fedlb/status.h"
#include "plugin_set.h"

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

}  // namespace

absl::Status RunConfigShow(const ConfigShowFlags& flags,
                           CommandContext& context, CommandResult& result) {
  ConfigLayers layers;
  layers.files = flags.configs;
  layers.sets = flags.sets;
  FEDLB_ASSIGN_OR_RETURN(ConfigTable table, LoadConfig(layers));
  ComponentRegistry registry;
  FEDLB_RETURN_IF_ERROR(LoadPluginsFor(context.flags, table, registry));
  FEDLB_ASSIGN_OR_RETURN(const ExperimentConfig config,
                         ResolveExperiment(table, registry));
  result.text = PrintConfig(config, true);
  result.data["config"] = ToJson(ConfigValue(config.resolved));
  Json origins = Json::object();
  AddOrigins(config.resolved, "", origins);
  result.data["origins"] = std::move(origins);
  return absl::OkStatus();
}

}  // namespace fedlb::cli
