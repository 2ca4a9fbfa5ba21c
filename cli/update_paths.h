// Which files a command line means.

#ifndef FEDLB_CLI_UPDATE_PATHS_H_
#define FEDLB_CLI_UPDATE_PATHS_H_

#include <istream>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace fedlb::cli {

// The files that `arguments` stand for, in their order: a path that is there
// stands for itself, a pattern (glob(7)) for the files it matches in
// alphabetical order, and "-" for the paths on the lines of `input`.
//
// kInputFile: a file is not there, or nothing matches. kUsage: a file is named
// twice, or "-" is.
absl::StatusOr<std::vector<std::string>> ExpandPaths(
    const std::vector<std::string>& arguments, std::istream& input);

}  // namespace fedlb::cli

#endif  // FEDLB_CLI_UPDATE_PATHS_H_
