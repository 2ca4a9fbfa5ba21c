// Checks zip archives before anything that trusts them reads them.

#ifndef FEDLB_PLUGINS_TORCHSCRIPT_ZIP_ARCHIVE_H_
#define FEDLB_PLUGINS_TORCHSCRIPT_ZIP_ARCHIVE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace fedlb::torchscript {

// The names of the records of a zip archive. kDataLoss unless `bytes` is a
// whole one: its directory lies within it, and every record has the length and
// the CRC-32 that the directory states. Records are stored or deflated; others
// are refused. Takes no memory for what a record claims to unpack to.
absl::StatusOr<std::vector<std::string>> CheckZipArchive(
    absl::string_view bytes);

}  // namespace fedlb::torchscript

#endif  // FEDLB_PLUGINS_TORCHSCRIPT_ZIP_ARCHIVE_H_
