// Loads plugins from shared libraries, after looking hard at the file.

#ifndef FEDLB_PLUGIN_LOADER_H_
#define FEDLB_PLUGIN_LOADER_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/export.h"
#include "fedlb/registry.h"

namespace fedlb {

// What stands in the descriptor of a plugin's file.
struct PluginFileInfo {
  std::string name;
  std::string version;
  std::string fingerprint;
};

// Reads the descriptor from the bytes of the file; runs none of its code.
//
// kPluginRefused, in this order, each with its own message: missing or
// unreadable file, not a regular file, writable by group or world or owned by
// somebody else than the user or root, in a directory that everybody may write
// to (one with the sticky bit is fine); not an ELF library of this machine;
// headers or sections reach beyond the file (a truncated library kills the
// process that opens it); no fedlb_plugin section; wrong magic, size or
// version of the descriptor; fingerprint of another build.
FEDLB_API absl::StatusOr<PluginFileInfo> InspectPlugin(const std::string& path);

// InspectPlugin, then loads the library and adds its components to `registry`,
// all or none. Further refusals: dlopen fails, registration throws, a name is
// taken. A loaded plugin stays loaded: LibTorch does not survive unloading.
FEDLB_API absl::Status LoadPlugin(const std::string& path,
                                  ComponentRegistry& registry);

// Where plugins are looked for.
struct PluginSearch {
  std::vector<std::string> files;        // --plugin and the key `plugins`
  std::vector<std::string> directories;  // --plugin-dir
  // FEDLB_PLUGIN_PATH and <exe>/../lib/fedlb/plugins follow; never the working
  // directory.
  bool use_defaults = true;
};

// Loads every plugin (fedlb_*.so) of the directories, in alphabetical order of
// the file names within each, and then the files. A name in `files` without a
// slash is looked for in the directories. fedlb_cuda.so needs a GPU's driver
// and is loaded only where `files` names it. A file that is reached twice, or
// that `registry` has already, is loaded once. Stops at the first refusal.
FEDLB_API absl::Status LoadPlugins(const PluginSearch& search,
                                   ComponentRegistry& registry);

}  // namespace fedlb

#endif  // FEDLB_PLUGIN_LOADER_H_
