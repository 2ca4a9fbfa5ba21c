#include "update_paths.h"

#include <glob.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "fedlb/status.h"

namespace fedlb::cli {
namespace {

constexpr char kStandardInput[] = "-";

bool IsThere(const std::string& path) {
  return access(path.c_str(), F_OK) == 0;
}

absl::Status AddMatches(const std::string& pattern,
                        std::vector<std::string>& paths) {
  if (pattern.find_first_of("*?[") == std::string::npos) {
    return InputFileError(
        absl::StrCat("cannot read ", pattern, ": ", std::strerror(errno)));
  }
  glob_t matches;
  const absl::Cleanup free_matches = [&matches] { globfree(&matches); };
  const int error = glob(pattern.c_str(), GLOB_TILDE, nullptr, &matches);
  if (error == GLOB_NOMATCH) {
    return InputFileError(absl::StrCat("no file matches ", pattern));
  }
  if (error != 0) {
    return InputFileError(
        absl::StrCat("cannot look for ", pattern, ": ", std::strerror(errno)));
  }
  paths.insert(paths.end(), matches.gl_pathv,
               matches.gl_pathv + matches.gl_pathc);
  return absl::OkStatus();
}

absl::Status AddLines(std::istream& input, std::vector<std::string>& paths) {
  std::string line;
  while (std::getline(input, line)) {
    if (!line.empty() && line.back() == '\r') {
      line.pop_back();
    }
    if (line.empty()) {
      continue;
    }
    if (!IsThere(line)) {
      return InputFileError(absl::StrCat("standard input names ", line, ": ",
                                         std::strerror(errno)));
    }
    paths.push_back(line);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ExpandPaths(
    const std::vector<std::string>& arguments, std::istream& input) {
  std::vector<std::string> paths;
  bool read_input = false;
  for (const std::string& argument : arguments) {
    if (argument == kStandardInput) {
      if (read_input) {
        return UsageError("- stands for standard input and can be named once");
      }
      read_input = true;
      FEDLB_RETURN_IF_ERROR(AddLines(input, paths));
    } else if (IsThere(argument)) {
      paths.push_back(argument);
    } else {
      FEDLB_RETURN_IF_ERROR(AddMatches(argument, paths));
    }
  }
  if (paths.empty()) {
    return InputFileError("standard input names no files");
  }
  absl::flat_hash_set<std::pair<dev_t, ino_t>> seen;
  for (const std::string& path : paths) {
    struct stat file;
    if (stat(path.c_str(), &file) == 0 &&
        !seen.emplace(file.st_dev, file.st_ino).second) {
      return UsageError(absl::StrCat(path,
                                     " is named twice; an update counts "
                                     "once"));
    }
  }
  return paths;
}

}  // namespace fedlb::cli
