// Reads and writes safetensors files: names, shapes, types and bytes of
// tensors, and text metadata.

#ifndef FEDLB_SAFETENSORS_H_
#define FEDLB_SAFETENSORS_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "fedlb/export.h"

namespace fedlb {

struct SafetensorsFile {
  // In the order in which the tensors' bytes stand in the file.
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  std::map<std::string, std::string> metadata;

  // Null when there is none.
  FEDLB_API const at::Tensor* Find(absl::string_view name) const;
};

// How a file shows that it is what was written.
enum class SafetensorsDigest {
  kNone,
  kXxh3,    // for the wire, at the speed of memory: metadata "fedlb.xxh3"
  kSha256,  // for files: metadata "fedlb.sha256"
};

// The bytes of a file. Tensors are written contiguous and little-endian, in
// order. The digest of the data area (the tensors' bytes in that order) is
// added to the metadata, and with it "fedlb.header_xxh3", the digest of the
// header with zeros in the place of its own digits. Digests that `file` came
// with are dropped.
//
// kInvalidArgument: a name twice, empty or over 512 bytes, text that is not
// UTF-8, a tensor that is not dense on the CPU, of more than 8 dimensions or of
// a type the format lacks, and more than the limits of ParseSafetensors.
FEDLB_API absl::StatusOr<std::string> SerializeSafetensors(
    const SafetensorsFile& file,
    SafetensorsDigest digest = SafetensorsDigest::kSha256);

// Writes the same to a file, durably and without a copy of the tensors.
//
// kInvalidArgument as above; kStorage as WriteFileDurably.
FEDLB_API absl::Status WriteSafetensors(
    const std::string& path, const SafetensorsFile& file,
    SafetensorsDigest digest = SafetensorsDigest::kSha256);

// Reads what SerializeSafetensors or any other writer of the format made. The
// tensors own their memory.
//
// kDataLoss naming the rule that is broken: lengths beyond the data, a header
// over 16 MiB, over 100,000 tensors, duplicate keys, unknown types, offsets
// that overlap or leave holes, shapes that do not match their bytes, and the
// digests where there are any (that of the header and that of the data, or
// neither). Memory is taken only for what is really there.
FEDLB_API absl::StatusOr<SafetensorsFile> ParseSafetensors(
    absl::string_view bytes);

// The same for a file, read by pread. kInputFile naming the file.
FEDLB_API absl::StatusOr<SafetensorsFile> ReadSafetensors(
    const std::string& path);

}  // namespace fedlb

#endif  // FEDLB_SAFETENSORS_H_
