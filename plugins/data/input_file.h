// A file of data that is read in pieces.

#ifndef FEDLB_DATA_INPUT_FILE_H_
#define FEDLB_DATA_INPUT_FILE_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace fedlb::data {

// `path` as a message may show it: names from other machines need not be
// UTF-8, and line breaks in them would forge messages.
std::string ShownPath(absl::string_view path);

// kDataLoss (kInputFile): "<path>: <cause>".
absl::Status FileFault(absl::string_view path, absl::string_view cause);
// "<path>: at byte <offset>: <cause>".
absl::Status FileFault(absl::string_view path, int64_t offset,
                       absl::string_view cause);

// A regular file that is open for reading.
class InputFile {
 public:
  // kDataLoss (kInputFile): missing, unreadable, a folder, a pipe.
  static absl::StatusOr<InputFile> Open(const std::string& path);

  InputFile(InputFile&& other) noexcept;
  InputFile& operator=(InputFile&&) = delete;
  ~InputFile();

  const std::string& path() const { return path_; }
  // When it was opened.
  int64_t size() const { return size_; }

  // Fills `out` with the bytes from `offset` on.
  //
  // kDataLoss (kInputFile): not that many there any more, or not readable.
  absl::Status Read(int64_t offset, absl::Span<uint8_t> out) const;

 private:
  InputFile(std::string path, int fd);

  std::string path_;
  int fd_ = -1;
  int64_t size_ = 0;
};

}  // namespace fedlb::data

#endif  // FEDLB_DATA_INPUT_FILE_H_
