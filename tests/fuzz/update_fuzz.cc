// Any bytes as a task or an update from the wire: refused with a status, or
// encoded again.

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "fedlb/round_task.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (const auto task = fedlb::DecodeTask(bytes); task.ok()) {
    const auto encoded = fedlb::EncodeTask(*task);
    if (encoded.ok() && !fedlb::DecodeTask(*encoded).ok()) {
      abort();
    }
  }
  if (const auto update = fedlb::DecodeUpdate(bytes); update.ok()) {
    const auto encoded = fedlb::EncodeUpdate(*update);
    if (encoded.ok() && !fedlb::DecodeUpdate(*encoded).ok()) {
      abort();
    }
  }
  return 0;
}
