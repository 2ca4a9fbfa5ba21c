// Configuration from its layers: files, environment, command line.

#ifndef FEDLB_CONFIG_H_
#define FEDLB_CONFIG_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "fedlb/config_table.h"
#include "fedlb/export.h"

namespace fedlb {

// Later layers win: files from left to right, then the environment
// (FEDLB_SET__section__key=value), then `sets` ("section.key=value") from left
// to right. Values of the last two are read as TOML and, where that fails, as
// plain strings.
//
// A layer that names another component for a section begins its settings anew:
// ResolveExperiment drops what earlier layers wrote for the component before.
struct ConfigLayers {
  std::vector<std::string> files;
  bool environment = true;
  std::vector<std::string> sets;
};

// kConfig with file:line:column and the reason. A file may have 1 MiB, 32
// dotted parts in a key and 64 levels of nesting.
FEDLB_API absl::StatusOr<ConfigTable> LoadConfig(const ConfigLayers& layers);

FEDLB_API absl::StatusOr<ConfigTable> ParseToml(absl::string_view text,
                                                const std::string& source);

// `table` as TOML that ParseToml reads back equal; with the origin of every
// value in a comment when asked for. In every table the keys of `order` come
// first, as they are ordered there; the others follow in alphabetical order.
FEDLB_API std::string PrintToml(const ConfigTable& table, bool with_origins,
                                const std::vector<std::string>& order = {
                                    "name"});

}  // namespace fedlb

#endif  // FEDLB_CONFIG_H_
