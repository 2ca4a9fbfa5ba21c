// The folder that holds everything a run leaves behind.

#ifndef FEDLB_RUN_DIRECTORY_H_
#define FEDLB_RUN_DIRECTORY_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "fedlb/export.h"
#include "fedlb/folder_lock.h"
#include "fedlb/logger.h"
#include "fedlb/safetensors.h"

namespace fedlb {

// A checkpoint as it lies on disk: checkpoints/round-000012.safetensors.
struct StoredCheckpoint {
  int64_t round = 0;
  SafetensorsFile content;
};

// The files of a run that grow round by round.
enum class RunLog {
  kMetrics,  // metrics.jsonl: one JSON object per line
  kEvents,   // TensorBoard's event file: one record per round
};

class GrowingFile;

// Holds an exclusive lock on the folder while it lives; the lock ends with the
// process however that dies. Not thread-safe.
class FEDLB_API RunDirectory {
 public:
  // Makes or opens the folder, locks it, and removes temporary files of writes
  // that did not finish.
  //
  // kStorage: cannot be made or written, or another run holds the lock (its
  // process is named). Without `resume` also when the folder holds a run
  // already; with it also when there is none.
  static absl::StatusOr<std::unique_ptr<RunDirectory>> Open(
      const std::string& path, bool resume, Logger& logger);
  ~RunDirectory();

  const std::string& path() const { return path_; }

  // Writes a small file (config.toml, run.json, report.html) durably.
  absl::Status WriteFile(absl::string_view name, absl::string_view bytes);

  // Appends whole lines or whole records; an event file begins with its version
  // by itself. After kStorage nothing has been appended.
  absl::Status Append(RunLog log, absl::string_view bytes);
  // Makes what was appended durable and returns the length of the file.
  absl::StatusOr<int64_t> Sync(RunLog log);
  // Cuts the file back to `length`; one that is shorter is reported to the
  // logger and cut after its last whole line or record.
  absl::Status Truncate(RunLog log, int64_t length);

  // Writes a checkpoint durably, with "fedlb.round" in its metadata, then
  // removes all but the newest `keep` up to that round.
  absl::Status SaveCheckpoint(const StoredCheckpoint& checkpoint, int64_t keep);

  // The newest checkpoint whose digest verifies; a broken one is reported to
  // the logger and the one before it is tried. kNotFound when there is none;
  // kInputFile when there are some and none is whole.
  absl::StatusOr<StoredCheckpoint> LoadNewestCheckpoint();

 private:
  RunDirectory(std::string path, FolderLock lock, Logger& logger);

  GrowingFile& Log(RunLog log);

  const std::string path_;
  const FolderLock lock_;
  const std::unique_ptr<GrowingFile> metrics_;
  const std::unique_ptr<GrowingFile> events_;
  Logger& logger_;
};

// The newest checkpoint in the folder of a run, whole or not; needs no lock.
// kInputFile: there is none.
FEDLB_API absl::StatusOr<std::string> NewestCheckpointPath(
    const std::string& run_dir);

}  // namespace fedlb

#endif  // FEDLB_RUN_DIRECTORY_H_
