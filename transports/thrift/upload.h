// One update on its way to the server.

#ifndef FEDLB_TRANSPORTS_THRIFT_UPLOAD_H_
#define FEDLB_TRANSPORTS_THRIFT_UPLOAD_H_

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace fedlb::thrift {

// Receives chunks in order. Memory is taken as they arrive. Whoever calls has
// checked each chunk. Thread-safe.
class Upload {
 public:
  // Of `bytes` bytes; `identity` is what the client calls it.
  Upload(int64_t bytes, int64_t identity);

  bool Is(int64_t bytes, int64_t identity) const {
    return bytes == bytes_ && identity == identity_;
  }

  int64_t received() const;

  // Returns the bytes received. A chunk that came before changes nothing.
  //
  // kOutOfOrder for one that leaves a hole, kTooLarge beyond the end.
  absl::StatusOr<int64_t> Put(int64_t offset, absl::string_view chunk);

  // kOutOfOrder when something is missing.
  absl::Status CheckComplete() const;

  // Once it is complete.
  absl::string_view content() const { return {data_.get(), Size()}; }

 private:
  size_t Size() const { return static_cast<size_t>(bytes_); }

  const int64_t bytes_;
  const int64_t identity_;
  // Not initialised: pages that no chunk has filled take no memory.
  const std::unique_ptr<char[]> data_;

  mutable std::mutex mutex_;
  int64_t received_ = 0;
};

// Bytes on disk, in a file without a name.
class SpilledUpload {
 public:
  // In `folder`. kStorage.
  static absl::StatusOr<SpilledUpload> Write(const std::string& folder,
                                             absl::string_view bytes);
  SpilledUpload(SpilledUpload&& other) noexcept;
  SpilledUpload& operator=(SpilledUpload&& other) noexcept;
  ~SpilledUpload();

  absl::StatusOr<std::string> Read() const;

 private:
  SpilledUpload(int fd, int64_t bytes) : fd_(fd), bytes_(bytes) {}

  int fd_;
  int64_t bytes_;
};

}  // namespace fedlb::thrift

#endif  // FEDLB_TRANSPORTS_THRIFT_UPLOAD_H_
