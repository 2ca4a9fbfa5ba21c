// The folder of a sweep and the processes that fill it.

#ifndef FEDLB_CLI_SWEEP_FOLDER_H_
#define FEDLB_CLI_SWEEP_FOLDER_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "child_process.h"
#include "command.h"
#include "fedlb/folder_lock.h"
#include "fedlb/sweep.h"
#include "sweep_plan.h"

namespace fedlb::cli {

// Holds configs/, logs/, results/ and runs/, each with one entry per run, and
// an exclusive lock while it lives.
class SweepFolder {
 public:
  // Makes the folder, or opens one to go on.
  static absl::StatusOr<SweepFolder> Open(std::string path, int64_t jobs,
                                          CommandContext& context);

  const std::string& path() const { return path_; }
  std::string RunDir(const PlannedRun& run) const {
    return absl::StrCat(path_, "/runs/", run.id);
  }

  // Runs what has no result yet, `jobs` at a time. On a failure the runs that
  // have begun come to their end.
  absl::Status Run(const std::vector<const PlannedRun*>& wanted);

  // What a run with a result left.
  absl::StatusOr<SweepRun> Read(const PlannedRun& run) const;

 private:
  SweepFolder(std::string path, FolderLock lock, int64_t jobs,
              CommandContext& context)
      : path_(std::move(path)),
        lock_(std::move(lock)),
        jobs_(jobs),
        context_(context) {}

  struct Job {
    const PlannedRun* run;
    ChildProcess process;
  };

  std::string ResultPath(const PlannedRun& run) const {
    return absl::StrCat(path_, "/results/", run.id, ".json");
  }
  bool HasResult(const PlannedRun& run) const {
    return access(ResultPath(run).c_str(), F_OK) == 0;
  }
  absl::StatusOr<Job> Start(const PlannedRun& run) const;
  absl::Status Finish(const PlannedRun& run, int exit_code) const;

  const std::string path_;
  FolderLock lock_;
  const int64_t jobs_;
  CommandContext& context_;
};

}  // namespace fedlb::cli

#endif  // FEDLB_CLI_SWEEP_FOLDER_H_
