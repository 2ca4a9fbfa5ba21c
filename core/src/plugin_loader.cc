// Lets a library in only after its file has told who it is.

#include "fedlb/plugin_loader.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include <boost/dll/shared_library.hpp>

#include "absl/base/attributes.h"
#include "absl/base/const_init.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/mutex.h"
#include "elf_file.h"
#include "fedlb/fingerprint.h"
#include "fedlb/plugin.h"
#include "fedlb/status.h"
#include "posix_file.h"

namespace fedlb {
namespace {

namespace fs = std::filesystem;

constexpr char kDescriptorSymbol[] = "fedlb_plugin_descriptor";
// Needs a GPU driver to load, so it is loaded only where it is asked for.
constexpr char kCudaPlugin[] = "fedlb_cuda.so";
constexpr char kPluginPathVariable[] = "FEDLB_PLUGIN_PATH";

// All of the descriptor that can be judged before the library is loaded: the
// callback is zero in the file until the dynamic loader relocates it.
constexpr size_t kJudgedBytes = offsetof(PluginDescriptor, register_components);

absl::Status Refused(absl::string_view path, absl::string_view why) {
  return PluginRefusedError(absl::StrCat("plugin ", path, " ", why));
}

// Symbolic links resolved, so that the directory that is judged is the one the
// file is in.
absl::StatusOr<std::string> CanonicalPath(const std::string& path) {
  std::error_code error;
  const fs::path canonical = fs::canonical(path, error);
  if (error) {
    return Refused(path, absl::StrCat("cannot be read: ", error.message()));
  }
  return canonical.string();
}

// Whoever may write the file, or put another in its place, decides what this
// process executes.
absl::Status CheckOwnership(const std::string& path, const struct stat& file) {
  if (file.st_uid != geteuid() && file.st_uid != 0) {
    return Refused(path, absl::StrCat("belongs to user ", file.st_uid,
                                      "; a plugin must belong to you (user ",
                                      geteuid(), ") or to root"));
  }
  if ((file.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return Refused(path, absl::StrFormat(
                             "can be written by %s (mode %04o); run chmod go-w",
                             (file.st_mode & S_IWOTH) ? "everybody" : "a group",
                             file.st_mode & 07777));
  }
  const std::string directory = fs::path(path).parent_path().string();
  struct stat parent;
  if (stat(directory.c_str(), &parent) != 0) {
    return Refused(path, absl::StrCat("cannot be read: ", directory, ": ",
                                      std::strerror(errno)));
  }
  if ((parent.st_mode & S_IWOTH) != 0 && (parent.st_mode & S_ISVTX) == 0) {
    return Refused(
        path, absl::StrFormat("is in %s, which can be written by everybody "
                              "(mode %04o); run chmod o-w on the directory",
                              directory, parent.st_mode & 07777));
  }
  return absl::OkStatus();
}

// The string in a fixed field, or nullopt when its end is missing or it holds
// what `allowed` refuses.
template <size_t kSize, typename Predicate>
std::optional<std::string> FieldText(const char (&field)[kSize],
                                     Predicate allowed) {
  const size_t size = strnlen(field, kSize);
  if (size == 0 || size == kSize ||
      !std::all_of(field, field + size, allowed)) {
    return std::nullopt;
  }
  return std::string(field, size);
}

bool IsNameCharacter(char c) {
  return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '_';
}

bool IsPrintable(char c) { return absl::ascii_isgraph(c); }

// "sdk-1, gcc11 where this program has sdk-2, gcc12": the parts that differ.
std::string FingerprintDifference(const std::string& plugin,
                                  const std::string& host) {
  const std::vector<std::string> theirs = absl::StrSplit(plugin, ';');
  const std::vector<std::string> ours = absl::StrSplit(host, ';');
  if (theirs.size() != ours.size()) {
    return absl::StrCat(plugin, " where this program has ", host);
  }
  std::vector<std::string> found;
  std::vector<std::string> expected;
  for (size_t i = 0; i < ours.size(); ++i) {
    if (theirs[i] != ours[i]) {
      found.push_back(theirs[i]);
      expected.push_back(ours[i]);
    }
  }
  return absl::StrCat(absl::StrJoin(found, ", "), " where this program has ",
                      absl::StrJoin(expected, ", "));
}

absl::StatusOr<PluginFileInfo> JudgeDescriptor(const std::string& path,
                                               const std::string& bytes) {
  PluginDescriptor descriptor = {};
  constexpr size_t kFixedBytes = offsetof(PluginDescriptor, fingerprint);
  if (bytes.size() < kFixedBytes) {
    return Refused(path, absl::StrCat("has a descriptor of ", bytes.size(),
                                      " bytes, which is too small"));
  }
  std::memcpy(&descriptor, bytes.data(),
              std::min(bytes.size(), sizeof(descriptor)));
  if (std::memcmp(descriptor.magic, kPluginMagic, sizeof(kPluginMagic)) != 0) {
    return Refused(path, "has a descriptor that does not begin with FEDLBPLG");
  }
  if (descriptor.struct_size != sizeof(descriptor) ||
      bytes.size() < sizeof(descriptor)) {
    return Refused(
        path,
        absl::StrCat("has a descriptor of ",
                     std::min<size_t>(bytes.size(), descriptor.struct_size),
                     " bytes where this program expects ", sizeof(descriptor),
                     "; rebuild it against this fedlb"));
  }
  if (descriptor.descriptor_version != kPluginDescriptorVersion) {
    return Refused(path, absl::StrCat("has a descriptor of version ",
                                      descriptor.descriptor_version,
                                      " where this program expects ",
                                      kPluginDescriptorVersion,
                                      "; rebuild it against this fedlb"));
  }
  const auto fingerprint = FieldText(descriptor.fingerprint, IsPrintable);
  const auto name = FieldText(descriptor.name, IsNameCharacter);
  const auto version = FieldText(descriptor.version, IsPrintable);
  if (!fingerprint || !name || !version) {
    return Refused(path, absl::StrCat("has a descriptor whose ",
                                      !fingerprint ? "fingerprint"
                                      : !name      ? "name"
                                                   : "version",
                                      " is not a proper text"));
  }
  if (*fingerprint != HostFingerprint()) {
    return Refused(path, absl::StrCat("(", *name, " ", *version,
                                      ") was built for another fedlb: it has ",
                                      FingerprintDifference(*fingerprint,
                                                            HostFingerprint()),
                                      "; rebuild it (plugin ", *fingerprint,
                                      ", program ", HostFingerprint(), ")"));
  }
  return PluginFileInfo{*name, *version, *fingerprint};
}

// A file that has passed every check that needs none of its code.
struct JudgedFile {
  std::string path;  // canonical
  PluginFileInfo info;
  std::string descriptor;  // its bytes up to the callback
};

absl::StatusOr<JudgedFile> Judge(const std::string& path) {
  JudgedFile judged;
  FEDLB_ASSIGN_OR_RETURN(judged.path, CanonicalPath(path));
  // Without O_NONBLOCK opening a FIFO waits for a writer.
  const FileDescriptor fd(
      open(judged.path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat file;
  if (fd.get() < 0 || fstat(fd.get(), &file) != 0) {
    return Refused(judged.path,
                   absl::StrCat("cannot be read: ", std::strerror(errno)));
  }
  if (!S_ISREG(file.st_mode)) {
    return Refused(judged.path, "is not a regular file");
  }
  FEDLB_RETURN_IF_ERROR(CheckOwnership(judged.path, file));
  const auto section =
      ReadLibrarySection(fd.get(), static_cast<uint64_t>(file.st_size),
                         kPluginSection, sizeof(PluginDescriptor));
  if (!section.ok()) {
    return Refused(judged.path, section.status().message());
  }
  if (!section->has_value()) {
    return Refused(judged.path,
                   absl::StrCat("is not a fedlb plugin: it has no section ",
                                kPluginSection));
  }
  FEDLB_ASSIGN_OR_RETURN(judged.info, JudgeDescriptor(judged.path, **section));
  judged.descriptor = (*section)->substr(0, kJudgedBytes);
  return judged;
}

// Keeps the library for the rest of the process: components, tensors and
// operators that came out of it may be reached from anywhere, and LibTorch
// crashes at exit when code that it knows has been unloaded.
void KeepForever(boost::dll::shared_library library) {
  ABSL_CONST_INIT static absl::Mutex mutex(absl::kConstInit);
  static auto* const libraries = new std::vector<boost::dll::shared_library>();
  absl::MutexLock lock(&mutex);
  libraries->push_back(std::move(library));
}

// Loads the library and gives its descriptor. An exception that leaves one of
// its static constructors ends the process: dlopen is declared not to throw.
absl::StatusOr<const PluginDescriptor*> Open(const JudgedFile& judged) {
  const PluginDescriptor* descriptor = nullptr;
  boost::dll::fs::error_code error;
  boost::dll::shared_library library(
      judged.path,
      boost::dll::load_mode::rtld_now | boost::dll::load_mode::rtld_local,
      error);
  if (error) {
    // Boost's own text is "Bad file descriptor", whatever went wrong.
    const char* reason = dlerror();
    return Refused(
        judged.path,
        absl::StrCat("cannot be loaded: ",
                     reason == nullptr ? "no reason given" : reason));
  }
  if (library.has(kDescriptorSymbol)) {
    descriptor = &library.get<const PluginDescriptor>(kDescriptorSymbol);
  }
  KeepForever(std::move(library));
  if (descriptor == nullptr) {
    return Refused(judged.path,
                   absl::StrCat("has no symbol ", kDescriptorSymbol));
  }
  // Between the look at the file and dlopen somebody may have replaced it.
  if (std::memcmp(descriptor, judged.descriptor.data(), kJudgedBytes) != 0) {
    return Refused(judged.path, "changed while it was being loaded");
  }
  if (descriptor->register_components == nullptr) {
    return Refused(judged.path, "has no function that registers components");
  }
  return descriptor;
}

// The plugins of one directory by file name, without the one that is loaded on
// request only.
absl::StatusOr<std::vector<std::string>> ListPlugins(
    const std::string& directory) {
  std::vector<std::string> files;
  std::error_code error;
  fs::directory_iterator entry(directory, error);
  while (!error && entry != fs::directory_iterator()) {
    const std::string name = entry->path().filename().string();
    if (absl::StartsWith(name, "fedlb_") && absl::EndsWith(name, ".so") &&
        name != kCudaPlugin) {
      files.push_back(entry->path().string());
    }
    entry.increment(error);
  }
  if (error) {
    return PluginRefusedError(absl::StrCat(
        "plugin directory ", directory, " cannot be read: ", error.message()));
  }
  std::sort(files.begin(), files.end());
  return files;
}

absl::StatusOr<std::vector<std::string>> SearchedDirectories(
    const PluginSearch& search) {
  std::vector<std::string> directories = search.directories;
  if (!search.use_defaults) {
    return directories;
  }
  const char* variable = std::getenv(kPluginPathVariable);
  for (const absl::string_view directory : absl::StrSplit(
           variable == nullptr ? "" : variable, ':', absl::SkipEmpty())) {
    if (!absl::StartsWith(directory, "/")) {
      return PluginRefusedError(absl::StrCat(
          kPluginPathVariable, ": ", directory,
          " is not an absolute path; plugins are never taken from wherever "
          "the program happens to be started"));
    }
    directories.emplace_back(directory);
  }
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  const fs::path own =
      program.parent_path().parent_path() / "lib" / "fedlb" / "plugins";
  // A program that embeds the core library need not come with plugins.
  if (!error && fs::is_directory(own, error)) {
    directories.push_back(own.string());
  }
  return directories;
}

absl::StatusOr<std::string> FindFile(
    const std::string& name, const std::vector<std::string>& directories) {
  if (absl::StrContains(name, "/")) {
    return name;
  }
  for (const std::string& directory : directories) {
    const fs::path candidate = fs::path(directory) / name;
    std::error_code error;
    if (fs::exists(candidate, error)) {
      return candidate.string();
    }
  }
  return PluginRefusedError(absl::StrCat(
      "plugin ", name, " is in none of the plugin directories (",
      directories.empty() ? "there are none" : absl::StrJoin(directories, ", "),
      "); for a file elsewhere give a path with a slash"));
}

}  // namespace

absl::StatusOr<PluginFileInfo> InspectPlugin(const std::string& path) {
  FEDLB_ASSIGN_OR_RETURN(JudgedFile judged, Judge(path));
  return std::move(judged.info);
}

absl::Status LoadPlugin(const std::string& path, ComponentRegistry& registry) {
  FEDLB_ASSIGN_OR_RETURN(const JudgedFile judged, Judge(path));
  FEDLB_ASSIGN_OR_RETURN(const PluginDescriptor* const descriptor,
                         Open(judged));
  PluginRegistrar registrar;
  const absl::Status registered =
      CatchAsStatus("registration failed", [&]() -> absl::Status {
        descriptor->register_components(registrar);
        return absl::OkStatus();
      });
  if (!registered.ok()) {
    return Refused(judged.path,
                   absl::StrCat("(", judged.info.name, " ", judged.info.version,
                                "): ", registered.message()));
  }
  for (ComponentEntry& entry : registrar.entries()) {
    entry.plugin = judged.info.name;
  }
  const absl::Status added =
      registry.Add({judged.info.name, judged.info.version,
                    judged.info.fingerprint, judged.path},
                   std::move(registrar.entries()));
  return Annotate(added, absl::StrCat("plugin ", judged.path));
}

absl::Status LoadPlugins(const PluginSearch& search,
                         ComponentRegistry& registry) {
  FEDLB_ASSIGN_OR_RETURN(const std::vector<std::string> directories,
                         SearchedDirectories(search));
  std::vector<std::string> files;
  for (const std::string& directory : directories) {
    FEDLB_ASSIGN_OR_RETURN(const std::vector<std::string> found,
                           ListPlugins(directory));
    files.insert(files.end(), found.begin(), found.end());
  }
  for (const std::string& name : search.files) {
    FEDLB_ASSIGN_OR_RETURN(std::string file, FindFile(name, directories));
    files.push_back(std::move(file));
  }

  // A file that is reached by two ways, or was loaded for an earlier request,
  // is not a second plugin.
  std::set<std::string> loaded;
  for (const PluginRecord& plugin : registry.plugins()) {
    loaded.insert(plugin.path);
  }
  for (const std::string& file : files) {
    FEDLB_ASSIGN_OR_RETURN(std::string path, CanonicalPath(file));
    if (loaded.insert(path).second) {
      FEDLB_RETURN_IF_ERROR(LoadPlugin(path, registry));
    }
  }
  return absl::OkStatus();
}

}  // namespace fedlb
