// The components that a program knows, by kind and name.

#ifndef FEDLB_REGISTRY_H_
#define FEDLB_REGISTRY_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "fedlb/component.h"
#include "fedlb/config_table.h"
#include "fedlb/export.h"
#include "fedlb/param_schema.h"
#include "fedlb/status.h"

namespace fedlb {

struct ComponentEntry {
  std::string kind;
  std::string name;
  std::string summary;
  std::string plugin;  // name of the plugin that offers it
  std::vector<ParamInfo> params;
  // Parses the table (without the key `name`) and makes the component.
  std::function<absl::StatusOr<std::unique_ptr<Component>>(
      const ConfigTable&, const ComponentContext&)>
      create;
  // Parses the table and prints it back complete.
  std::function<absl::StatusOr<ConfigTable>(const ConfigTable&)> resolve;
};

// A plugin as the registry remembers it.
struct PluginRecord {
  std::string name;
  std::string version;
  std::string fingerprint;
  std::string path;  // empty for components registered by the program itself
};

// Filled at start by one thread, read by many afterwards.
class FEDLB_API ComponentRegistry {
 public:
  // Takes all of `entries` or, when a name is taken already or twice in
  // `entries`, none: kAlreadyExists (kPluginRefused) naming both plugins.
  absl::Status Add(const PluginRecord& plugin,
                   std::vector<ComponentEntry> entries);

  // kNotFound (kConfig) naming what exists and the nearest name.
  absl::StatusOr<const ComponentEntry*> Find(absl::string_view kind,
                                             absl::string_view name) const;

  // Every entry in the order of kind and name.
  std::vector<const ComponentEntry*> entries() const;
  // Names of one kind in alphabetical order.
  std::vector<std::string> Names(absl::string_view kind) const;
  const std::vector<PluginRecord>& plugins() const { return plugins_; }

  // Makes the component that `table` names under the key `name`.
  template <typename T>
  absl::StatusOr<std::unique_ptr<T>> Create(
      const ConfigTable& table, const ComponentContext& context) const {
    FEDLB_ASSIGN_OR_RETURN(std::unique_ptr<Component> component,
                           CreateAny(T::kKind, table, context));
    // The entry was registered from a class whose kKind is T's.
    return std::unique_ptr<T>(static_cast<T*>(component.release()));
  }

  absl::StatusOr<std::unique_ptr<Component>> CreateAny(
      absl::string_view kind, const ConfigTable& table,
      const ComponentContext& context) const;

  // `table` with every parameter of the component it names, `name` included.
  absl::StatusOr<ConfigTable> Resolve(absl::string_view kind,
                                      const ConfigTable& table) const;

 private:
  std::map<std::pair<std::string, std::string>, ComponentEntry> entries_;
  std::vector<PluginRecord> plugins_;
};

}  // namespace fedlb

#endif  // FEDLB_REGISTRY_H_
