// Any bytes as a safetensors file: refused with a status, or written and read
// back the same.

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "fedlb/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto file = fedlb::ParseSafetensors(bytes);
  if (!file.ok()) {
    return 0;
  }
  const auto written = fedlb::SerializeSafetensors(*file);
  if (!written.ok()) {
    return 0;  // more than the writer takes
  }
  const auto again = fedlb::ParseSafetensors(*written);
  if (!again.ok() || again->tensors.size() != file->tensors.size()) {
    abort();
  }
  return 0;
}
