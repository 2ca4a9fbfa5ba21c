// Reads NPY files, NumPy's format for one array.

#ifndef FEDLB_DATA_NPY_FILE_H_
#define FEDLB_DATA_NPY_FILE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace fedlb::data {

struct NpyHeader {
  // As NumPy writes it: "|u1", "<f4", "<i8", ...
  std::string type;
  int64_t element_bytes = 0;
  std::vector<int64_t> shape;
  // Where the array starts in the file, and how long it is.
  int64_t data_offset = 0;
  int64_t data_bytes = 0;
};

struct NpyArray {
  NpyHeader header;
  std::vector<uint8_t> bytes;  // row-major, little-endian
};

// Bytes of a file that ParseNpyHeader may need.
inline constexpr int64_t kMaxNpyHeaderBytes = int64_t{1} << 16;

// The header at the front of a file of `file_bytes`, of which `head` holds
// kMaxNpyHeaderBytes or all there are. Versions 1 and 2, row-major, integers
// and floating-point numbers in little-endian order (NumPy Enhancement
// Proposal 1).
//
// kDataLoss (kInputFile) with offset and cause.
absl::StatusOr<NpyHeader> ParseNpyHeader(absl::Span<const uint8_t> head,
                                         int64_t file_bytes);

// The whole file. Memory is taken only for what is really there.
//
// kDataLoss (kInputFile) with path, offset and cause.
absl::StatusOr<NpyArray> ReadNpyFile(const std::string& path);

}  // namespace fedlb::data

#endif  // FEDLB_DATA_NPY_FILE_H_
