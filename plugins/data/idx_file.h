// Reads IDX files, the format of MNIST and its relatives, plain or gzipped.

#ifndef FEDLB_DATA_IDX_FILE_H_
#define FEDLB_DATA_IDX_FILE_H_

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace fedlb::data {

// The third byte of a file.
enum class IdxType : uint8_t {
  kUint8 = 0x08,
  kInt8 = 0x09,
  kInt16 = 0x0B,
  kInt32 = 0x0C,
  kFloat32 = 0x0D,
  kFloat64 = 0x0E,
};

const char* IdxTypeName(IdxType type);

struct IdxArray {
  IdxType type = IdxType::kUint8;
  std::vector<int64_t> dims;   // outermost first, at least one
  std::vector<uint8_t> bytes;  // row-major elements in this machine's order

  // Element `index` of an array of type T.
  template <typename T>
  T At(int64_t index) const {
    T value;
    std::memcpy(&value, bytes.data() + index * sizeof(T), sizeof(T));
    return value;
  }
};

// The array in the file at `path`. Compression is told by the content, not by
// the name. Memory is taken only for what the size of the file makes plausible:
// an array more than 200 times the size of its gzip file is refused.
//
// kDataLoss (kInputFile) with path, offset and cause: missing, unreadable,
// truncated, corrupt, not an IDX file, trailing bytes.
absl::StatusOr<IdxArray> ReadIdxFile(const std::string& path);

// The same for a file's content; `name` stands for its path in messages.
absl::StatusOr<IdxArray> ParseIdx(absl::Span<const uint8_t> content,
                                  absl::string_view name);

}  // namespace fedlb::data

#endif  // FEDLB_DATA_IDX_FILE_H_
