// Inputs of a fuzz target that reaches deep into a format whose decoder is not
// instrumented, so that coverage does not lead there.

#ifndef FEDLB_TESTS_FUZZ_EDITED_SEED_H_
#define FEDLB_TESTS_FUZZ_EDITED_SEED_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace fedlb {

// A first byte below the number of `seeds` chooses one of them; each three
// bytes after that replace one byte of it: where, in 16 bits, and by what. With
// any other first byte the input stands for itself.
inline std::string EditedSeed(const std::vector<std::string>& seeds,
                              const uint8_t* data, size_t size) {
  if (size == 0 || data[0] >= seeds.size()) {
    return std::string(reinterpret_cast<const char*>(data), size);
  }
  std::string content = seeds[data[0]];
  for (size_t i = 1; i + 2 < size; i += 3) {
    const size_t at = size_t{data[i]} << 8 | data[i + 1];
    content[at % content.size()] = static_cast<char>(data[i + 2]);
  }
  return content;
}

}  // namespace fedlb

#endif  // FEDLB_TESTS_FUZZ_EDITED_SEED_H_
