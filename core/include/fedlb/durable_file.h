// Files that are either the old one or the new one, whatever happens.

#ifndef FEDLB_DURABLE_FILE_H_
#define FEDLB_DURABLE_FILE_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "fedlb/export.h"

namespace fedlb {

// Writes to a temporary name beside `path`, syncs, renames, syncs the folder.
// On any error the file that was there stays and the temporary one goes; only
// when nothing but the last step fails the new file is there, and a power cut
// may bring back the old one. The permissions are those of the file that was
// there, or else 0644 less the umask.
//
// kStorage naming the path, the system's reason and the bytes needed; also for
// a path that is there and no regular file.
FEDLB_API absl::Status WriteFileDurably(const std::string& path,
                                        absl::string_view bytes);

// The same for bytes that lie in pieces.
FEDLB_API absl::Status WriteFileDurably(
    const std::string& path, absl::Span<const absl::string_view> pieces);

// The whole file. kNotFound when there is none; kInputFile otherwise, also for
// more than `max_bytes`.
FEDLB_API absl::StatusOr<std::string> ReadWholeFile(const std::string& path,
                                                    int64_t max_bytes);

// 64 hex digits.
FEDLB_API std::string Sha256Hex(absl::string_view bytes);

}  // namespace fedlb

#endif  // FEDLB_DURABLE_FILE_H_
