#include "fedlb/run_directory.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <functional>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "fedlb/durable_file.h"
#include "fedlb/status.h"
#include "growing_file.h"
#include "posix_file.h"

namespace fedlb {
namespace {

constexpr char kConfigFile[] = "config.toml";
constexpr char kMetricsFile[] = "metrics.jsonl";
// TensorBoard reads every file with "tfevents" in its name.
constexpr char kEventFile[] = "events.out.tfevents.fedlb";
constexpr char kCheckpointsFolder[] = "checkpoints";
constexpr char kRoundKey[] = "fedlb.round";
constexpr char kDigestKey[] = "fedlb.sha256";

std::string Join(absl::string_view directory, absl::string_view name) {
  return absl::StrCat(directory, "/", name);
}

std::string CheckpointName(int64_t round) {
  return absl::StrFormat("round-%06d.safetensors", round);
}

// The round of a checkpoint's file name, and nothing for any other name.
std::optional<int64_t> RoundOf(absl::string_view name) {
  absl::string_view digits = name;
  int64_t round = 0;
  if (!absl::ConsumePrefix(&digits, "round-") ||
      !absl::ConsumeSuffix(&digits, ".safetensors") ||
      !absl::SimpleAtoi(digits, &round) || CheckpointName(round) != name) {
    return std::nullopt;
  }
  return round;
}

// Empty when the folder cannot be listed.
std::vector<std::string> NamesIn(const std::string& directory) {
  std::vector<std::string> names;
  std::error_code error;
  std::filesystem::directory_iterator it(directory, error);
  for (const std::filesystem::directory_iterator end; !error && it != end;
       it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  return names;
}

// The rounds that have a checkpoint, newest first.
std::vector<int64_t> CheckpointRounds(const std::string& run_dir) {
  std::vector<int64_t> rounds;
  for (const std::string& name : NamesIn(Join(run_dir, kCheckpointsFolder))) {
    if (const std::optional<int64_t> round = RoundOf(name)) {
      rounds.push_back(*round);
    }
  }
  std::sort(rounds.begin(), rounds.end(), std::greater<>());
  return rounds;
}

bool HoldsRun(const std::string& run_dir) {
  return access(Join(run_dir, kConfigFile).c_str(), F_OK) == 0 ||
         access(Join(run_dir, kMetricsFile).c_str(), F_OK) == 0 ||
         !CheckpointRounds(run_dir).empty();
}

// Only with the lock: without it these may be writes in progress.
void RemoveTemporaryFiles(const std::string& directory) {
  for (const std::string& name : NamesIn(directory)) {
    if (IsTemporaryName(name)) {
      unlink(Join(directory, name).c_str());
    }
  }
}

// The file has to say itself that it is whole: without digests it may be one
// that lost them.
absl::StatusOr<SafetensorsFile> ReadCheckpoint(const std::string& path,
                                               int64_t round) {
  FEDLB_ASSIGN_OR_RETURN(SafetensorsFile content, ReadSafetensors(path));
  if (!content.metadata.contains(kDigestKey)) {
    return InputFileError(absl::StrCat(path, " carries no digest"));
  }
  const auto stored = content.metadata.find(kRoundKey);
  if (stored == content.metadata.end() ||
      stored->second != absl::StrCat(round)) {
    return InputFileError(
        absl::StrCat(path, " does not hold the round of its name"));
  }
  return content;
}

}  // namespace

RunDirectory::RunDirectory(std::string path, FolderLock lock, Logger& logger)
    : path_(std::move(path)),
      lock_(std::move(lock)),
      metrics_(std::make_unique<GrowingFile>(Join(path_, kMetricsFile), kLines,
                                             logger)),
      events_(std::make_unique<GrowingFile>(Join(path_, kEventFile),
                                            kEventRecords, logger)),
      logger_(logger) {}

RunDirectory::~RunDirectory() = default;

absl::StatusOr<std::unique_ptr<RunDirectory>> RunDirectory::Open(
    const std::string& path, bool resume, Logger& logger) {
  if (path.empty()) {
    return StorageError("the output folder has no name; give one by --output");
  }
  // Before anything is made in a folder that was named by mistake.
  if (resume && !HoldsRun(path)) {
    return StorageError(absl::StrCat(
        path,
        " holds no run to continue; start one without --resume, or name "
        "the right folder by --output"));
  }
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) {
    return StorageError(
        absl::StrCat("cannot make the folder ", path, ": ", error.message()));
  }
  FEDLB_ASSIGN_OR_RETURN(FolderLock lock, FolderLock::Take(path));
  auto directory = std::unique_ptr<RunDirectory>(
      new RunDirectory(path, std::move(lock), logger));
  if (!resume && HoldsRun(path)) {
    return StorageError(absl::StrCat(
        path,
        " holds a run already; continue it with --resume or choose "
        "another --output"));
  }
  RemoveTemporaryFiles(path);
  RemoveTemporaryFiles(Join(path, kCheckpointsFolder));
  return directory;
}

absl::Status RunDirectory::WriteFile(absl::string_view name,
                                     absl::string_view bytes) {
  return WriteFileDurably(Join(path_, name), bytes);
}

absl::Status RunDirectory::Append(RunLog log, absl::string_view bytes) {
  return Log(log).Append(bytes);
}

absl::StatusOr<int64_t> RunDirectory::Sync(RunLog log) {
  return Log(log).Sync();
}

absl::Status RunDirectory::Truncate(RunLog log, int64_t length) {
  return Log(log).Truncate(length);
}

GrowingFile& RunDirectory::Log(RunLog log) {
  return log == RunLog::kMetrics ? *metrics_ : *events_;
}

absl::Status RunDirectory::SaveCheckpoint(const StoredCheckpoint& checkpoint,
                                          int64_t keep) {
  SafetensorsFile content = checkpoint.content;
  content.metadata[kRoundKey] = absl::StrCat(checkpoint.round);

  const std::string folder = Join(path_, kCheckpointsFolder);
  if (mkdir(folder.c_str(), 0755) == 0) {
    if (!SyncDirectory(path_)) {
      return SystemFailure("sync", path_);
    }
  } else if (errno != EEXIST) {
    return SystemFailure("make the folder", folder);
  }
  FEDLB_RETURN_IF_ERROR(WriteSafetensors(
      Join(folder, CheckpointName(checkpoint.round)), content));

  // Rounds beyond this one are from before a resume that could not read them;
  // kept, they would count as the newest.
  int64_t kept = 0;
  for (const int64_t round : CheckpointRounds(path_)) {
    const bool keep_this =
        round <= checkpoint.round && kept < std::max<int64_t>(keep, 1);
    if (keep_this) {
      ++kept;
      continue;
    }
    const std::string old = Join(folder, CheckpointName(round));
    if (unlink(old.c_str()) != 0) {
      logger_.Warning(SystemFailure("remove", old).message());
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> NewestCheckpointPath(const std::string& run_dir) {
  const std::vector<int64_t> rounds = CheckpointRounds(run_dir);
  if (rounds.empty()) {
    return InputFileError(absl::StrCat(
        run_dir, " holds no checkpoint; name the folder of a run"));
  }
  return Join(Join(run_dir, kCheckpointsFolder),
              CheckpointName(rounds.front()));
}

absl::StatusOr<StoredCheckpoint> RunDirectory::LoadNewestCheckpoint() {
  absl::Status newest_failure;
  for (const int64_t round : CheckpointRounds(path_)) {
    const std::string path =
        Join(Join(path_, kCheckpointsFolder), CheckpointName(round));
    absl::StatusOr<SafetensorsFile> content = ReadCheckpoint(path, round);
    if (content.ok()) {
      if (!newest_failure.ok()) {
        logger_.Warning(absl::StrCat("using the older checkpoint ", path));
      }
      return StoredCheckpoint{round, std::move(content).value()};
    }
    if (!absl::IsDataLoss(content.status())) {
      // A lack of memory says nothing about the file.
      return content.status();
    }
    logger_.Warning(absl::StrCat("a checkpoint is not whole: ",
                                 content.status().message()));
    newest_failure.Update(content.status());
  }
  if (!newest_failure.ok()) {
    return InputFileError(
        absl::StrCat("no checkpoint in ", path_,
                     " is whole; the newest: ", newest_failure.message()));
  }
  return absl::NotFoundError(absl::StrCat("no checkpoint in ", path_));
}

}  // namespace fedlb
