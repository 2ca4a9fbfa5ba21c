#include "profile_file.h"

#include <cstdint>

#include "absl/status/status.h"
#include "fedlb/durable_file.h"
#include "fedlb/status.h"

namespace fedlb::cli {

absl::StatusOr<DeviceProfile> ReadProfile(const std::string& path) {
  constexpr int64_t kMaxBytes = 16 << 20;
  absl::StatusOr<std::string> text = ReadWholeFile(path, kMaxBytes);
  if (!text.ok()) {
    return InputFileError(text.status().message());
  }
  absl::StatusOr<DeviceProfile> profile = ParseDeviceProfile(*text);
  return profile.ok() ? profile : Annotate(profile.status(), path);
}

}  // namespace fedlb::cli
