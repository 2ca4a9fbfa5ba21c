// Safetensors files that are read piece by piece.

#ifndef FEDLB_SRC_SAFETENSORS_READER_H_
#define FEDLB_SRC_SAFETENSORS_READER_H_

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include <ATen/core/Tensor.h>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "posix_file.h"
#include "safetensors_digest.h"
#include "safetensors_header.h"

namespace fedlb {

// Copies `size` bytes at `offset` to `target`.
using ReadBytes =
    absl::FunctionRef<absl::Status(uint64_t offset, char* target, size_t size)>;

// kInputFile.
absl::Status CannotRead(absl::string_view path, absl::string_view reason);

// What stands before the tensors.
struct SafetensorsPreamble {
  SafetensorsHeader header;
  uint64_t data_offset = 0;
};

// Checks everything that ParseSafetensors promises of the header. kDataLoss.
absl::StatusOr<SafetensorsPreamble> ReadSafetensorsPreamble(uint64_t file_size,
                                                            ReadBytes read);

// The tensor of `entry`, whose bytes go through `digests`; `read` takes offsets
// within the data area. kDataLoss when it cannot be what it says.
absl::StatusOr<at::Tensor> ReadSafetensorsTensor(const SafetensorsEntry& entry,
                                                 ReadBytes read,
                                                 DataDigests& digests);

// An open file. Any thread may read.
class SafetensorsReader {
 public:
  // kInputFile naming the file, here and below.
  static absl::StatusOr<SafetensorsReader> Open(const std::string& path);

  const std::string& path() const { return path_; }
  const SafetensorsHeader& header() const { return preamble_.header; }

  // From `offset` of the data area on.
  absl::Status ReadAt(uint64_t offset, char* target, size_t size) const;
  // Fails once the file has been written to since Open.
  absl::Status CheckUnchanged() const;

 private:
  SafetensorsReader(std::string path, FileDescriptor file,
                    const struct stat& information);

  std::string path_;
  FileDescriptor file_;
  struct stat information_;
  SafetensorsPreamble preamble_;
};

}  // namespace fedlb

#endif  // FEDLB_SRC_SAFETENSORS_READER_H_
