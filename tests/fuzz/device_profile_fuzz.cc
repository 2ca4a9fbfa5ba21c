// Any text as the profile of a device: refused with a status, or good for
// predictions, advice and a split.

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "fedlb/profile.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::StatusOr<fedlb::DeviceProfile> profile =
      fedlb::ParseDeviceProfile(
          absl::string_view(reinterpret_cast<const char*>(data), size));
  if (!profile.ok()) {
    return 0;
  }
  const absl::StatusOr<fedlb::ProfileModels> models =
      fedlb::ProfileModels::Fit(*profile);
  if (!models.ok()) {
    __builtin_trap();
  }
  for (const int64_t batch_size :
       {int64_t{1}, int64_t{100}, int64_t{1} << 60}) {
    fedlb::Predict(*profile, *models, batch_size);
  }
  fedlb::AdviseBatch(*profile, *models).status().IgnoreError();
  fedlb::SplitBatch({*profile, *profile}, 64).status().IgnoreError();
  fedlb::RenderProfileReport(*profile).status().IgnoreError();
  return 0;
}
