// Update files as rows of numbers.

#ifndef FEDLB_SRC_AGGREGATION_UPDATE_FILE_H_
#define FEDLB_SRC_AGGREGATION_UPDATE_FILE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/tensor_list.h"
#include "safetensors_digest.h"
#include "safetensors_header.h"
#include "safetensors_reader.h"

namespace fedlb {

// The floating tensors of updates, one after the other: a column per element.
class ColumnLayout {
 public:
  ColumnLayout() = default;
  // The floating tensors of `header` in the order of their bytes.
  explicit ColumnLayout(const SafetensorsHeader& header);

  // The same tensors in the order in which `header` has them; it has all.
  ColumnLayout InOrderOf(const SafetensorsHeader& header) const;

  int64_t width() const { return width_; }
  const TensorLayout& specs() const { return specs_; }
  // The first column of each tensor.
  const std::vector<int64_t>& begins() const { return begins_; }

  // The tensors that a row of `width()` values holds, without a copy.
  TensorList Views(const at::Tensor& row) const;

 private:
  void Append(TensorSpec spec);

  TensorLayout specs_;
  std::vector<int64_t> begins_;
  int64_t width_ = 0;
};

// Equal for files that hold the same tensors, whatever their order and floating
// types.
std::string SignatureOf(const SafetensorsHeader& header);

// One file, read as a row. Not thread-safe; different files may be read at the
// same time.
class UpdateFile {
 public:
  // kInputFile naming the file, here and below.
  static absl::StatusOr<UpdateFile> Open(const std::string& path);

  const std::string& path() const { return reader_.path(); }
  const SafetensorsHeader& header() const { return reader_.header(); }
  int64_t num_bytes() const;

  // Lays down which columns its values go to; the layout outlives the file. A
  // file whose columns stand in another order than the layout's has its digest
  // checked here, others while they are read for the first time.
  absl::Status Bind(const ColumnLayout& layout);

  // Columns [begin, begin + count) into `row`, converted to float or double.
  // Between two calls of EndPass every column is read once, in rising order.
  template <typename T>
  absl::Status Read(int64_t begin, int64_t count, T* row);

  // A tensor that is no column.
  absl::StatusOr<at::Tensor> ReadOther(const SafetensorsEntry& entry) const;

  // After the last column. Fails when the content was not what was written, or
  // the file changed since it was opened.
  absl::Status EndPass();

 private:
  explicit UpdateFile(SafetensorsReader reader);

  // Takes the bytes up to `end` of the data area into the digests, of which
  // [begin, end) are in memory.
  absl::Status Digest(uint64_t begin, uint64_t end, const char* bytes);

  SafetensorsReader reader_;
  DataDigests digests_;
  const ColumnLayout* layout_ = nullptr;
  // The file's entry for each tensor of the layout.
  std::vector<const SafetensorsEntry*> entries_;
  bool verified_ = false;
  uint64_t digested_ = 0;
  std::vector<char> scratch_;  // values to convert
  std::vector<char> gap_;      // bytes to digest only
};

}  // namespace fedlb

#endif  // FEDLB_SRC_AGGREGATION_UPDATE_FILE_H_
