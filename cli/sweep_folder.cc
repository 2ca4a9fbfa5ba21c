#include "sweep_folder.h"

#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <deque>
#include <filesystem>
#include <optional>
#include <set>
#include <system_error>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "fedlb/durable_file.h"
#include "fedlb/status.h"
#include "table.h"
#include "terminal.h"

namespace fedlb::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kExitDiverged = 9;
constexpr int64_t kMaxResultBytes = 16 << 20;
constexpr absl::Duration kPollInterval = absl::Milliseconds(20);

// The status of a process that failed.
absl::Status FailureOfRun(int exit_code, const std::string& message) {
  switch (exit_code) {
    case 3:
      return ConfigError(message);
    case 4:
      return InputFileError(message);
    case 5:
      return OutOfMemoryError(message);
    case 6:
      return PeerLostError(message);
    case 7:
      return DeadlineError(message);
    case 8:
      return PluginRefusedError(message);
    case 10:
      return StorageError(message);
    case 130:
    case 143:
      return InterruptedError(message);
    default:
      return absl::InternalError(message);
  }
}

}  // namespace

absl::StatusOr<SweepFolder> SweepFolder::Open(std::string path, int64_t jobs,
                                              CommandContext& context) {
  for (const char* folder : {"configs", "logs", "results", "runs"}) {
    std::error_code error;
    std::filesystem::create_directories(absl::StrCat(path, "/", folder), error);
    if (error) {
      return StorageError(
          absl::StrCat(path, "/", folder, ": ", error.message()));
    }
  }
  FEDLB_ASSIGN_OR_RETURN(FolderLock lock, FolderLock::Take(path));
  return SweepFolder(std::move(path), std::move(lock), jobs, context);
}

absl::StatusOr<SweepFolder::Job> SweepFolder::Start(
    const PlannedRun& run) const {
  std::vector<std::string> arguments = {"train", "--format", "json"};
  const std::string run_dir = RunDir(run);
  if (access(absl::StrCat(run_dir, "/config.toml").c_str(), F_OK) == 0) {
    arguments.insert(arguments.end(), {"--resume", run_dir});
  } else {
    const std::string config =
        absl::StrCat(path_, "/configs/", run.id, ".toml");
    FEDLB_RETURN_IF_ERROR(WriteFileDurably(config, run.config_text));
    arguments.insert(arguments.end(),
                     {"--config", config, "--output", run_dir});
  }
  if (run.in_process) {
    const auto cores =
        std::max<int64_t>(1, std::thread::hardware_concurrency());
    // No bit depends on it.
    arguments.insert(
        arguments.end(),
        {"--set", absl::StrCat("transport.workers=",
                               std::max<int64_t>(1, cores / jobs_))});
  }
  for (const std::string& plugin : context_.flags.plugins) {
    arguments.insert(arguments.end(), {"--plugin", plugin});
  }
  for (const std::string& folder : context_.flags.plugin_dirs) {
    arguments.insert(arguments.end(), {"--plugin-dir", folder});
  }
  FEDLB_ASSIGN_OR_RETURN(
      ChildProcess process,
      ChildProcess::Start(arguments, absl::StrCat(ResultPath(run), ".part"),
                          absl::StrCat(path_, "/logs/", run.id, ".txt")));
  return Job{&run, process};
}

absl::Status SweepFolder::Finish(const PlannedRun& run, int exit_code) const {
  const std::string part = absl::StrCat(ResultPath(run), ".part");
  const auto text = ReadWholeFile(part, kMaxResultBytes);
  const Json envelope = text.ok() ? Json::parse(*text, nullptr, false) : Json();
  const bool whole =
      envelope.is_object() && envelope.value("exit_code", -1) == exit_code;
  if (whole && (exit_code == 0 || exit_code == kExitDiverged)) {
    if (rename(part.c_str(), ResultPath(run).c_str()) != 0) {
      return StorageError(absl::StrCat("cannot rename ", part));
    }
    return absl::OkStatus();
  }
  std::string cause = absl::StrCat("exit code ", exit_code);
  if (envelope.is_object() && envelope.contains("error") &&
      envelope["error"].contains("message")) {
    cause = envelope["error"]["message"].get<std::string>();
  }
  unlink(part.c_str());
  return FailureOfRun(
      exit_code, absl::StrCat("run ", run.id, ": ", cause, " (log: ", path_,
                              "/logs/", run.id, ".txt)"));
}

absl::Status SweepFolder::Run(const std::vector<const PlannedRun*>& wanted) {
  std::deque<const PlannedRun*> waiting;
  std::set<std::string> seen;
  for (const PlannedRun* run : wanted) {
    if (!HasResult(*run) && seen.insert(run->id).second) {
      waiting.push_back(run);
    }
  }
  const auto total = static_cast<int64_t>(waiting.size());
  int64_t done = 0;
  const absl::Time start = absl::Now();
  std::vector<Job> running;
  absl::Status status;
  bool interrupted = false;
  while (!running.empty() || (!waiting.empty() && status.ok())) {
    if (context_.stop != 0 && !std::exchange(interrupted, true)) {
      status.Update(InterruptedError(absl::StrCat(
          "stopped; the same command goes on where it stopped, in ", path_)));
      for (Job& job : running) {
        job.process.Interrupt();
      }
    }
    while (status.ok() && !waiting.empty() &&
           static_cast<int64_t>(running.size()) < jobs_) {
      absl::StatusOr<Job> job = Start(*waiting.front());
      if (!job.ok()) {
        status = job.status();
        break;
      }
      waiting.pop_front();
      running.push_back(*std::move(job));
    }
    for (size_t i = running.size(); i-- > 0;) {
      if (const std::optional<int> exit_code = running[i].process.Poll()) {
        status.Update(Finish(*running[i].run, *exit_code));
        running.erase(running.begin() + static_cast<ptrdiff_t>(i));
        ++done;
        const double seconds = absl::ToDoubleSeconds(absl::Now() - start);
        context_.terminal.Show(
            {.done = done,
             .total = total,
             .unit = "run",
             .details = absl::StrCat(
                 "ETA ", FormatSeconds(seconds / static_cast<double>(done) *
                                       static_cast<double>(total - done)))});
      }
    }
    absl::SleepFor(kPollInterval);
  }
  context_.terminal.EndProgress();
  return status;
}

absl::StatusOr<SweepRun> SweepFolder::Read(const PlannedRun& run) const {
  FEDLB_ASSIGN_OR_RETURN(const std::string text,
                         ReadWholeFile(ResultPath(run), kMaxResultBytes));
  const Json envelope = Json::parse(text, nullptr, false);
  if (!envelope.is_object() || !envelope.contains("exit_code")) {
    return InputFileError(
        absl::StrCat(ResultPath(run),
                     ": not the result of a run; remove it and sweep "
                     "again"));
  }
  if (envelope["exit_code"] == kExitDiverged) {
    return SweepRun{.run_dir = RunDir(run), .diverged = true, .points = {}};
  }
  return ReadSweepRun(RunDir(run));
}

}  // namespace fedlb::cli
