#include "shared_settings.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "fedlb/param_schema.h"

namespace fedlb {
namespace {

constexpr char kNameKey[] = "name";
constexpr char kDataset[] = "dataset";

// Keys before any section.
bool IsLocalRunKey(absl::string_view key) {
  return key == "name" || key == "plugins" || key == "device";
}

// Sections that clients have no use for, or have their own of.
bool IsLocalSection(absl::string_view section) {
  return section == "transport" || section == "evaluation" ||
         section == "checkpoint" || section == "stopping" ||
         section == "simulation";
}

bool IsGiven(const ConfigValue& value) { return value.origin() != "default"; }

// The server has decided what "auto" stands for.
bool IsAuto(const ConfigValue& value) {
  const std::string* text = value.As<std::string>();
  return text != nullptr && *text == "auto";
}

std::string NameIn(const ConfigTable& table) {
  const ConfigValue* name = table.Find(kNameKey);
  const std::string* text = name == nullptr ? nullptr : name->As<std::string>();
  return text == nullptr ? "" : *text;
}

// The parameters of the component that `table` names; none where there is no
// such component here.
std::vector<ParamInfo> ParamsOf(absl::string_view kind,
                                const ConfigTable& table,
                                const ComponentRegistry& registry) {
  const auto entry = registry.Find(kind, NameIn(table));
  return entry.ok() ? (*entry)->params : std::vector<ParamInfo>();
}

std::vector<std::string> LocalKeys(const std::vector<ParamInfo>& params) {
  std::vector<std::string> keys;
  for (const ParamInfo& param : params) {
    if (param.local) {
      keys.push_back(param.name);
    }
  }
  return keys;
}

// Removes the settings of the machine from the table of a component and from
// those nested in it, whose kind is the key that they stand under.
void EraseLocal(absl::string_view kind, const ComponentRegistry& registry,
                ConfigTable& table) {
  for (const std::string& key : LocalKeys(ParamsOf(kind, table, registry))) {
    table.Erase(key);
  }
  const ConfigTable::Map values = table.values();
  for (const auto& [key, value] : values) {
    if (value.As<ConfigTable>() != nullptr) {
      EraseLocal(key, registry, table.Subtable(key));
    }
  }
}

// Puts what the owner of this machine gave for the same component's local
// settings into `table`.
void CopyLocal(absl::string_view kind, const ComponentRegistry& registry,
               const ConfigTable& own, ConfigTable& table) {
  if (NameIn(own) != NameIn(table)) {
    return;
  }
  for (const std::string& key : LocalKeys(ParamsOf(kind, table, registry))) {
    const ConfigValue* value = own.Find(key);
    if (value != nullptr && IsGiven(*value)) {
      table.Set(key, *value);
    }
  }
  for (const auto& [key, value] : own.values()) {
    const auto* nested = value.As<ConfigTable>();
    if (nested != nullptr && table.Find(key) != nullptr) {
      CopyLocal(key, registry, *nested, table.Subtable(key));
    }
  }
}

void ListOverruled(const ConfigTable& own, const ConfigTable& used,
                   const std::string& prefix, std::vector<std::string>& keys) {
  for (const auto& [key, value] : own.values()) {
    const ConfigValue* other = used.Find(key);
    const auto* table = value.As<ConfigTable>();
    const auto* other_table =
        other == nullptr ? nullptr : other->As<ConfigTable>();
    if (table != nullptr && other_table != nullptr) {
      ListOverruled(*table, *other_table, absl::StrCat(prefix, key, "."), keys);
    } else if (table == nullptr && IsGiven(value) && !IsAuto(value) &&
               (other == nullptr || !(*other == value))) {
      keys.push_back(absl::StrCat(prefix, key));
    }
  }
}

std::string KindOf(absl::string_view section) {
  for (const SectionInfo& info : Sections()) {
    if (info.section == section) {
      return info.kind;
    }
  }
  return "";
}

// Of the loop's own keys in a section.
std::vector<std::string> LocalLoopKeys(absl::string_view section) {
  if (section == "execution") {
    return {"memory_limit"};
  }
  for (const SectionInfo& info : Sections()) {
    if (info.section == section) {
      return LocalKeys(info.params);
    }
  }
  return {};
}

}  // namespace

ConfigTable SharedSettings(const ConfigTable& resolved,
                           const ComponentRegistry& registry) {
  ConfigTable shared;
  for (const auto& [key, value] : resolved.values()) {
    const auto* section = value.As<ConfigTable>();
    if (section == nullptr) {
      if (!IsLocalRunKey(key)) {
        shared.Set(key, value);
      }
      continue;
    }
    if (IsLocalSection(key)) {
      continue;
    }
    ConfigTable kept = *section;
    for (const std::string& local : LocalLoopKeys(key)) {
      kept.Erase(local);
    }
    EraseLocal(KindOf(key), registry, kept);
    shared.Set(key, ConfigValue(std::move(kept)));
  }
  return shared;
}

CombinedSettings CombineSettings(const ConfigTable& shared,
                                 const ConfigTable& own,
                                 const ComponentRegistry& registry) {
  CombinedSettings combined;
  ConfigTable& settings = combined.settings;
  settings = SharedSettings(shared, registry);
  for (const auto& [key, value] : own.values()) {
    const auto* section = value.As<ConfigTable>();
    if (section == nullptr) {
      if (IsLocalRunKey(key)) {
        settings.Set(key, value);
      }
      continue;
    }
    if (key == "transport") {
      settings.Set(key, value);
      continue;
    }
    const ConfigValue* name = section->Find(kNameKey);
    if (key == kDataset && name != nullptr && IsGiven(*name) &&
        NameIn(*section) != NameIn(settings.Subtable(kDataset))) {
      settings.Set(key, value);
      combined.own_dataset = true;
      continue;
    }
    if (IsLocalSection(key) || settings.Find(key) == nullptr) {
      continue;
    }
    ConfigTable& used = settings.Subtable(key);
    for (const std::string& local : LocalLoopKeys(key)) {
      const ConfigValue* given = section->Find(local);
      if (given != nullptr && IsGiven(*given)) {
        used.Set(local, *given);
      }
    }
    CopyLocal(KindOf(key), registry, *section, used);
  }
  ConfigTable compared;
  for (const auto& [key, value] : own.values()) {
    if (!IsLocalSection(key) && !(key == kDataset && combined.own_dataset)) {
      compared.Set(key, value);
    }
  }
  ListOverruled(compared, settings, "", combined.overruled);
  return combined;
}

}  // namespace fedlb
