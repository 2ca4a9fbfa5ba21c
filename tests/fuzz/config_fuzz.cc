// Any text as a configuration: refused with a status, or printed and read back
// equal.

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "fedlb/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const auto table = fedlb::ParseToml(text, "fuzz.toml");
  if (!table.ok()) {
    return 0;
  }
  const auto again =
      fedlb::ParseToml(fedlb::PrintToml(*table, true), "printed.toml");
  if (!again.ok() || !(*again == *table)) {
    abort();
  }
  return 0;
}
