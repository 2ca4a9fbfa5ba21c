// Scalars in the format that TensorBoard reads.
//
// The file is a sequence of TFRecords (length, its checksum, payload, its
// checksum), each of which holds one protocol buffer `tensorflow.Event`. Both
// are public formats: tensorflow/core/lib/io/record_writer.h, event.proto and
// summary.proto of TensorFlow. Only the fields that scalars need are written.

#ifndef FEDLB_SRC_EVENT_FILE_H_
#define FEDLB_SRC_EVENT_FILE_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "fedlb/component.h"
#include "fedlb/export.h"

namespace fedlb {

// CRC-32C, the checksum of iSCSI: RFC 3720, section 12.1 and appendix B.4.
FEDLB_API uint32_t Crc32c(absl::string_view bytes);

// The record that every event file begins with. `wall_time` counts seconds
// since 1970.
FEDLB_API std::string FileVersionRecord(double wall_time);

// The record of one step. Values that are not finite are left out, and
// TensorFlow keeps the others as 32-bit floats.
FEDLB_API std::string ScalarsRecord(double wall_time, int64_t step,
                                    const ScalarMap& scalars);

// How many of the first `size` bytes are records that are whole and whose
// checksums hold, up to the first that is not.
//
// kStorage: `path`, which is open as `fd`, cannot be read.
absl::StatusOr<int64_t> LengthOfWholeRecords(int fd, int64_t size,
                                             const std::string& path);

}  // namespace fedlb

#endif  // FEDLB_SRC_EVENT_FILE_H_
