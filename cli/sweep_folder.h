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
#include "fedlb/status.h"
#include "fedlb/sweep.h"
#include "sweep_plan.h"

namespace fedlb::cli {

// Holds configs/, logs/, results/ and runs/, each with one entry per run.
class SweepFolder {
 public:
  SweepFolder(std::string path, int64_t jobs, CommandContext& context)
      : path_(std::move(path)), jobs_(jobs), context_(context) {}

  const std::string& path() const { return path_; }
  std::string RunDir(const PlannedRun& run) const {
    return absl::StrCat(path_, "/runs/", run.id);
  }

  absl::Status Create() const {
    for (const char* folder : {"configs", "logs", "results", "runs"}) {
      std::error_code error;
      std::filesystem::create_directories(absl::StrCat(path_, "/", folder),
                                          error);
      if (error) {
        return StorageError(
            absl::StrCat(path_, "/", folder, ": ", error.message()));
      }
    }
    return absl::OkStatus();
  }

  // Runs what has no result yet, `jobs` at a time. On a failure the runs that
  // have begun come to their end.
  absl::Status Run(const std::vector<const PlannedRun*>& wanted);

  // What a run with a result left.
  absl::StatusOr<SweepRun> Read(const PlannedRun& run) const;

 private:
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
  const int64_t jobs_;
  CommandContext& context_;
};

}  // namespace fedlb::cli

#endif  // FEDLB_CLI_SWEEP_FOLDER_H_
