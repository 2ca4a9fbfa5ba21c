// The JSON header of a safetensors file, read with distrust.

#ifndef FEDLB_SRC_SAFETENSORS_HEADER_H_
#define FEDLB_SRC_SAFETENSORS_HEADER_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace fedlb {

// Of the number that says how long the header is.
inline constexpr uint64_t kSafetensorsLengthBytes = 8;
inline constexpr uint64_t kMaxSafetensorsHeaderBytes = 16 << 20;
// Of tensors, and of keys of metadata.
inline constexpr size_t kMaxSafetensorsEntries = 100'000;
inline constexpr size_t kMaxSafetensorsNameBytes = 512;
inline constexpr size_t kMaxSafetensorsRank = 8;
inline constexpr char kSafetensorsMetadataKey[] = "__metadata__";

// One tensor as the header describes it.
struct SafetensorsEntry {
  std::string name;
  at::ScalarType dtype = at::kFloat;
  std::vector<int64_t> shape;
  // Within the data area.
  uint64_t begin = 0;
  uint64_t end = 0;
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> tensors;
  std::map<std::string, std::string> metadata;
};

// The header, with its tensors in the order of their bytes, which fill the data
// area of `data_size` bytes exactly. kDataLoss naming the rule that is broken.
absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(absl::string_view text,
                                                         uint64_t data_size);

// Null for a type that the format lacks.
const char* SafetensorsDtypeName(at::ScalarType dtype);

// Text from outside, fit for a message.
std::string Quoted(absl::string_view text);

}  // namespace fedlb

#endif  // FEDLB_SRC_SAFETENSORS_HEADER_H_
