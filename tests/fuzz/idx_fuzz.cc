// Any bytes as an IDX file, plain or compressed: refused with a status, or as
// many bytes as the dimensions say.

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "data/idx_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto array = fedlb::data::ParseIdx({data, size}, "fuzz");
  if (!array.ok()) {
    return 0;
  }
  size_t elements = 1;
  for (const int64_t dim : array->dims) {
    elements *= static_cast<size_t>(dim);
  }
  if (array->bytes.size() % (elements == 0 ? 1 : elements) != 0) {
    abort();
  }
  return 0;
}
