// How a shared library offers components.

#ifndef FEDLB_PLUGIN_H_
#define FEDLB_PLUGIN_H_

#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "fedlb/component.h"
#include "fedlb/export.h"
#include "fedlb/fingerprint.h"
#include "fedlb/registry.h"

namespace fedlb {

// Collects what one plugin offers. The host sees none of it until the plugin's
// registration function has returned without throwing.
class PluginRegistrar {
 public:
  template <typename C>
  void Add() {
    static_assert(std::is_base_of_v<Component, C>);
    ComponentEntry entry;
    entry.kind = C::kKind;
    entry.name = C::kName;
    entry.summary = C::kSummary;
    entry.params = C::Schema().Describe();
    entry.create = [](const ConfigTable& table, const ComponentContext& context)
        -> absl::StatusOr<std::unique_ptr<Component>> {
      FEDLB_ASSIGN_OR_RETURN(auto options, C::Schema().Parse(table));
      return C::Create(options, context);
    };
    entry.resolve =
        [](const ConfigTable& table) -> absl::StatusOr<ConfigTable> {
      const auto schema = C::Schema();
      FEDLB_ASSIGN_OR_RETURN(auto options, schema.Parse(table));
      return schema.Print(options);
    };
    entries_.push_back(std::move(entry));
  }

  std::vector<ComponentEntry>& entries() { return entries_; }

 private:
  std::vector<ComponentEntry> entries_;
};

// What the loader reads from the file before it lets the library in. Plain
// data with its strings inline; the first three members never move.
struct PluginDescriptor {
  char magic[8];  // kPluginMagic
  uint32_t struct_size;
  uint32_t descriptor_version;
  char fingerprint[192];
  char name[64];
  char version[32];
  void (*register_components)(PluginRegistrar& registrar);
};
static_assert(std::is_standard_layout_v<PluginDescriptor>);

inline constexpr char kPluginMagic[8] = {'F', 'E', 'D', 'L', 'B', 'P', 'L', 'G'};
inline constexpr uint32_t kPluginDescriptorVersion = 1;
// The ELF section that holds the descriptor and nothing else.
inline constexpr char kPluginSection[] = "fedlb_plugin";

}  // namespace fedlb

// Once per plugin, at namespace scope:
//   FEDLB_PLUGIN("robust", "0.1.0", fedlb::robust::RegisterComponents);
#define FEDLB_PLUGIN(plugin_name, plugin_version, function)                 \
  extern "C" {                                                              \
  extern FEDLB_API const ::fedlb::PluginDescriptor fedlb_plugin_descriptor; \
  __attribute__((section("fedlb_plugin"), used))                            \
  const ::fedlb::PluginDescriptor fedlb_plugin_descriptor = {               \
      {'F', 'E', 'D', 'L', 'B', 'P', 'L', 'G'},                             \
      sizeof(::fedlb::PluginDescriptor),                                    \
      ::fedlb::kPluginDescriptorVersion,                                    \
      FEDLB_BUILD_FINGERPRINT,                                              \
      plugin_name,                                                          \
      plugin_version,                                                       \
      function};                                                            \
  }                                                                         \
  static_assert(true, "require a trailing semicolon")

#endif  // FEDLB_PLUGIN_H_
