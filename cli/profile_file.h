// Profiles of devices, from files that the user names.

#ifndef FEDLB_CLI_PROFILE_FILE_H_
#define FEDLB_CLI_PROFILE_FILE_H_

#include <string>

#include "absl/status/statusor.h"
#include "fedlb/profile.h"

namespace fedlb::cli {

// kInputFile: no such file, or no profile; the message names the file.
absl::StatusOr<DeviceProfile> ReadProfile(const std::string& path);

}  // namespace fedlb::cli

#endif  // FEDLB_CLI_PROFILE_FILE_H_
