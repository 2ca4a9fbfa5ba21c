#include "fedlb/registry.h"

#include <algorithm>
#include <set>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "toml_text.h"
#include "unknown_key.h"

namespace fedlb {
namespace {

constexpr char kNameKey[] = "name";

std::string OriginOr(const std::string& origin, const char* otherwise) {
  return origin.empty() ? otherwise : origin;
}

// The entry of `registry` that `table` names.
absl::StatusOr<const ComponentEntry*> FindNamed(
    const ComponentRegistry& registry, absl::string_view kind,
    const ConfigTable& table) {
  const ConfigValue* name = table.Find(kNameKey);
  if (name == nullptr) {
    return ConfigError(absl::StrCat(
        OriginOr(table.origin(), "configuration"), ": the key `name` must say ",
        "which ", kind, "; have: ", absl::StrJoin(registry.Names(kind), ", ")));
  }
  const std::string* text = name->As<std::string>();
  if (text == nullptr) {
    return ConfigError(
        absl::StrCat(name->origin(), ": name = ", Excerpt(name->ToString()),
                     ": expected string, not ", name->TypeName()));
  }
  const absl::StatusOr<const ComponentEntry*> entry =
      registry.Find(kind, *text);
  if (!entry.ok()) {
    return Annotate(entry.status(), name->origin());
  }
  return entry;
}

// `status` under another code; its failure stays.
absl::Status WithCode(absl::StatusCode code, const absl::Status& status) {
  absl::Status changed(code, status.message());
  status.ForEachPayload(
      [&changed](absl::string_view url, const absl::Cord& payload) {
        changed.SetPayload(url, payload);
      });
  return changed;
}

absl::Status NameTaken(absl::string_view message) {
  return WithCode(absl::StatusCode::kAlreadyExists,
                  PluginRefusedError(message));
}

ConfigTable WithoutName(const ConfigTable& table) {
  ConfigTable rest = table;
  rest.Erase(kNameKey);
  return rest;
}

}  // namespace

absl::Status ComponentRegistry::Add(const PluginRecord& plugin,
                                    std::vector<ComponentEntry> entries) {
  std::set<std::pair<std::string, std::string>> own;
  for (const ComponentEntry& entry : entries) {
    const auto key = std::make_pair(entry.kind, entry.name);
    if (!own.insert(key).second) {
      return NameTaken(absl::StrCat("plugin `", plugin.name, "` offers ",
                                    entry.kind, " `", entry.name, "` twice"));
    }
    const auto taken = entries_.find(key);
    if (taken != entries_.end()) {
      return NameTaken(absl::StrCat(
          "plugin `", plugin.name, "` offers ", entry.kind, " `", entry.name,
          "`, which plugin `", taken->second.plugin, "` offers already"));
    }
  }
  for (ComponentEntry& entry : entries) {
    entry.plugin = plugin.name;
    auto key = std::make_pair(entry.kind, entry.name);
    entries_.emplace(std::move(key), std::move(entry));
  }
  plugins_.push_back(plugin);
  return absl::OkStatus();
}

absl::StatusOr<const ComponentEntry*> ComponentRegistry::Find(
    absl::string_view kind, absl::string_view name) const {
  const auto found =
      entries_.find(std::make_pair(std::string(kind), std::string(name)));
  if (found != entries_.end()) {
    return &found->second;
  }
  const std::vector<std::string> names = Names(kind);
  const std::string instead =
      names.empty() ? "; no loaded plugin offers any"
                    : absl::StrCat("; have: ", absl::StrJoin(names, ", "),
                                   DidYouMean(name, names));
  return WithCode(
      absl::StatusCode::kNotFound,
      ConfigError(absl::StrCat("no ", kind, " named ",
                               Excerpt(TomlString(name)), instead)));
}

std::vector<const ComponentEntry*> ComponentRegistry::entries() const {
  std::vector<const ComponentEntry*> all;
  for (const auto& [key, entry] : entries_) {
    all.push_back(&entry);
  }
  return all;
}

std::vector<std::string> ComponentRegistry::Names(
    absl::string_view kind) const {
  std::vector<std::string> names;
  for (const auto& [key, entry] : entries_) {
    if (entry.kind == kind) {
      names.push_back(entry.name);
    }
  }
  return names;
}

absl::StatusOr<std::unique_ptr<Component>> ComponentRegistry::CreateAny(
    absl::string_view kind, const ConfigTable& table,
    const ComponentContext& context) const {
  FEDLB_ASSIGN_OR_RETURN(const ComponentEntry* entry,
                         FindNamed(*this, kind, table));
  const std::string where = absl::StrCat(kind, " `", entry->name, "`");
  FEDLB_ASSIGN_OR_RETURN(std::unique_ptr<Component> component,
                         CatchAsStatusOr(where, [&] {
                           return entry->create(WithoutName(table), context);
                         }));
  if (component == nullptr) {
    return absl::InternalError(absl::StrCat(where, ": Create made nothing"));
  }
  return component;
}

absl::StatusOr<ConfigTable> ComponentRegistry::Resolve(
    absl::string_view kind, const ConfigTable& table) const {
  FEDLB_ASSIGN_OR_RETURN(const ComponentEntry* entry,
                         FindNamed(*this, kind, table));
  FEDLB_ASSIGN_OR_RETURN(
      ConfigTable resolved,
      CatchAsStatusOr(absl::StrCat(kind, " `", entry->name, "`"),
                      [&] { return entry->resolve(WithoutName(table)); }));
  resolved.Set(kNameKey, *table.Find(kNameKey));
  resolved.set_origin(table.origin());
  // The schema prints defaults and given values alike.
  for (const auto& [key, given] : table.values()) {
    if (const ConfigValue* value = resolved.Find(key)) {
      resolved.Set(key, ConfigValue(value->data(), given.origin()));
    }
  }
  return resolved;
}

}  // namespace fedlb
