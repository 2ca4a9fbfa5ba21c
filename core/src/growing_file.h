// A file that grows by whole pieces and can be cut back to where it was.

#ifndef FEDLB_SRC_GROWING_FILE_H_
#define FEDLB_SRC_GROWING_FILE_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "fedlb/logger.h"

namespace fedlb {

// What a file's pieces are: lines, or records.
struct PieceFormat {
  const char* plural;
  // How many of the first `size` bytes of `path`, open as `fd`, are whole
  // pieces.
  absl::StatusOr<int64_t> (*length_of_whole)(int fd, int64_t size,
                                             const std::string& path);
  // What the file begins with.
  std::string (*preamble)();
};

// Is made by the first call that needs it. Not thread-safe.
class GrowingFile {
 public:
  GrowingFile(std::string path, const PieceFormat& format, Logger& logger);
  ~GrowingFile();
  GrowingFile(const GrowingFile&) = delete;
  GrowingFile& operator=(const GrowingFile&) = delete;

  // kStorage, and nothing has been appended.
  absl::Status Append(absl::string_view pieces);
  // Makes what was appended durable and returns the length.
  absl::StatusOr<int64_t> Sync();
  // Cuts the file back; one that is shorter is reported to the logger and cut
  // after its last whole piece.
  absl::Status Truncate(int64_t length);

 private:
  absl::Status Open();
  absl::StatusOr<int64_t> Size() const;

  const std::string path_;
  const PieceFormat& format_;
  int fd_ = -1;
  Logger& logger_;
};

// metrics.jsonl, and TensorBoard's event file.
extern const PieceFormat kLines;
extern const PieceFormat kEventRecords;

}  // namespace fedlb

#endif  // FEDLB_SRC_GROWING_FILE_H_
