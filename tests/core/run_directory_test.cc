#include "fedlb/run_directory.h"

#include <csignal>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include <ATen/ops/full.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/storage_testing.h"
#include "event_file.h"
#include "event_reader.h"
#include "fedlb/durable_file.h"
#include "fedlb/status.h"

namespace fedlb {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr int64_t kKeep = 3;

class RecordingLogger : public Logger {
 public:
  void Log(LogLevel /*level*/, absl::string_view message) override {
    messages.emplace_back(message);
  }
  std::vector<std::string> messages;
};

// Content that can be recomputed from the round.
StoredCheckpoint MakeCheckpoint(int64_t round, int64_t elements = 1000) {
  StoredCheckpoint checkpoint;
  checkpoint.round = round;
  checkpoint.content.metadata["step"] = absl::StrCat(10 * round);
  checkpoint.content.tensors.emplace_back(
      "weights/0",
      at::full({elements}, static_cast<double>(round), at::kFloat));
  return checkpoint;
}

void ExpectIsCheckpoint(const StoredCheckpoint& checkpoint, int64_t round,
                        int64_t elements = 1000) {
  EXPECT_EQ(checkpoint.round, round);
  EXPECT_EQ(checkpoint.content.metadata.at("step"), absl::StrCat(10 * round));
  EXPECT_EQ(checkpoint.content.metadata.at("fedlb.round"), absl::StrCat(round));
  const at::Tensor* weights = checkpoint.content.Find("weights/0");
  ASSERT_NE(weights, nullptr);
  EXPECT_TRUE(weights->equal(
      MakeCheckpoint(round, elements).content.tensors.front().second));
}

class RunDirectoryTest : public ::testing::Test {
 protected:
  // A second one on the same folder must wait for the first to go.
  std::unique_ptr<RunDirectory> Open(bool resume) {
    absl::StatusOr<std::unique_ptr<RunDirectory>> directory =
        RunDirectory::Open(run_, resume, logger_);
    EXPECT_TRUE(directory.ok()) << directory.status();
    return directory.ok() ? *std::move(directory) : nullptr;
  }
  std::string CheckpointPath(int64_t round) const {
    return absl::StrFormat("%s/checkpoints/round-%06d.safetensors", run_,
                           round);
  }

  const TemporaryFolder folder_;
  const std::string run_ = folder_ / "runs/deep/one";
  RecordingLogger logger_;
};

absl::Status OpenStatus(const std::string& path, bool resume) {
  return RunDirectory::Open(path, resume, Logger::Null()).status();
}

TEST_F(RunDirectoryTest, MakesItsParents) {
  const auto directory = Open(/*resume=*/false);
  EXPECT_EQ(directory->path(), run_);
  ASSERT_TRUE(directory->WriteFile("config.toml", "seed = 1\n").ok());
  EXPECT_EQ(Contents(run_ + "/config.toml"), "seed = 1\n");
}

TEST_F(RunDirectoryTest, IsOpenToOneRunAtATimeAndNamesTheOther) {
  auto directory = Open(/*resume=*/false);
  ASSERT_TRUE(directory->WriteFile("config.toml", "").ok());
  const int pid = getpid();
  EXPECT_EQ(RunInChild([&] {
              for (const bool resume : {false, true}) {
                const absl::Status status = OpenStatus(run_, resume);
                EXPECT_EQ(FailureOf(status), Failure::kStorage);
                EXPECT_THAT(std::string(status.message()),
                            AllOf(HasSubstr(run_),
                                  HasSubstr(absl::StrCat("process ", pid))));
              }
              return 0;
            }),
            0);
  directory.reset();
  EXPECT_TRUE(OpenStatus(run_, /*resume=*/true).ok());
}

TEST_F(RunDirectoryTest, IsFreeWhenItsProcessIsKilled) {
  ASSERT_EQ(RunInChild([&] {
              const auto directory = Open(/*resume=*/false);
              kill(getpid(), SIGKILL);
              return 0;
            }),
            -SIGKILL);
  EXPECT_NE(Open(/*resume=*/false), nullptr);
}

TEST_F(RunDirectoryTest, IsNotStartedTwiceWithoutResume) {
  Open(/*resume=*/false)->WriteFile("config.toml", "").IgnoreError();
  const absl::Status status = OpenStatus(run_, /*resume=*/false);
  EXPECT_EQ(FailureOf(status), Failure::kStorage);
  EXPECT_THAT(
      std::string(status.message()),
      AllOf(HasSubstr(run_), HasSubstr("--resume"), HasSubstr("--output")));
}

// A run that fails before it has left anything may be started again.
TEST_F(RunDirectoryTest, IsStartedAgainWhenNothingIsInIt) {
  EXPECT_NE(Open(/*resume=*/false), nullptr);
  EXPECT_NE(Open(/*resume=*/false), nullptr);
}

TEST_F(RunDirectoryTest, IsNotResumedWithoutARunAndMakesNothing) {
  const absl::Status status = OpenStatus(run_, /*resume=*/true);
  EXPECT_EQ(FailureOf(status), Failure::kStorage);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr(run_), HasSubstr("without --resume")));
  EXPECT_THAT(NamesIn(folder_.path()), IsEmpty());
}

TEST_F(RunDirectoryTest, RefusesPlacesThatCannotBeWritten) {
  Write(folder_ / "file", "");
  for (const std::string& path :
       {folder_ / "file", folder_ / "file/below", std::string("/proc/fedlb"),
        std::string("/proc/self"), std::string()}) {
    const absl::Status status = OpenStatus(path, /*resume=*/false);
    EXPECT_EQ(FailureOf(status), Failure::kStorage) << path;
    EXPECT_THAT(std::string(status.message()), HasSubstr(path));
  }
}

TEST_F(RunDirectoryTest, RemovesTemporaryFilesAndNothingElse) {
  Open(/*resume=*/false)
      ->SaveCheckpoint(MakeCheckpoint(1), kKeep)
      .IgnoreError();
  for (const char* name :
       {"/.config.toml.tmp.123.4", "/checkpoints/.a.safetensors.tmp.1.2",
        "/.tmp.1.2", "/config.toml.tmp.1.2", "/.x.tmp.1.y", "/notes.txt"}) {
    Write(run_ + name, "x");
  }
  Open(/*resume=*/true);
  EXPECT_THAT(NamesIn(run_),
              ElementsAre(".lock", ".tmp.1.2", ".x.tmp.1.y", "checkpoints",
                          "config.toml.tmp.1.2", "notes.txt"));
  EXPECT_THAT(NamesIn(run_ + "/checkpoints"), SizeIs(1));
}

TEST_F(RunDirectoryTest, CutsMetricsBackToWhatACheckpointKnows) {
  auto directory = Open(/*resume=*/false);
  ASSERT_TRUE(directory->Append(RunLog::kMetrics, "{\"round\":1}\n").ok());
  const absl::StatusOr<int64_t> length = directory->Sync(RunLog::kMetrics);
  ASSERT_TRUE(length.ok());
  EXPECT_EQ(*length, 12);
  ASSERT_TRUE(directory->Append(RunLog::kMetrics, "{\"round\":2}\n").ok());
  directory.reset();
  // What kill -9 leaves of a line.
  Write(run_ + "/metrics.jsonl", Contents(run_ + "/metrics.jsonl") + "{\"rou");

  directory = Open(/*resume=*/true);
  ASSERT_TRUE(directory->Truncate(RunLog::kMetrics, *length).ok());
  ASSERT_TRUE(directory->Append(RunLog::kMetrics, "{\"round\":3}\n").ok());
  EXPECT_EQ(Contents(run_ + "/metrics.jsonl"),
            "{\"round\":1}\n{\"round\":3}\n");
  EXPECT_THAT(logger_.messages, IsEmpty());
}

TEST_F(RunDirectoryTest, CutsShortMetricsAfterTheirLastWholeLine) {
  for (const auto& [before, after] :
       std::vector<std::pair<std::string, std::string>>{
           {"one\ntwo\nthr", "one\ntwo\n"},
           {"thr", ""},
           {"", ""},
           {"one\n" + std::string(10'000, 'x'), "one\n"}}) {
    Open(/*resume=*/false);
    Write(run_ + "/metrics.jsonl", before);
    logger_.messages.clear();
    auto directory = Open(/*resume=*/true);
    ASSERT_TRUE(directory->Truncate(RunLog::kMetrics, 20'000).ok());
    EXPECT_EQ(Contents(run_ + "/metrics.jsonl"), after);
    EXPECT_THAT(logger_.messages, ElementsAre(HasSubstr("metrics.jsonl")));
    directory.reset();
    unlink((run_ + "/metrics.jsonl").c_str());
  }
}

TEST_F(RunDirectoryTest, CutsEventsBackToWhatACheckpointKnows) {
  const std::string path = run_ + "/events.out.tfevents.fedlb";
  const auto append = [](RunDirectory& directory, int64_t step) {
    return directory.Append(RunLog::kEvents,
                            ScalarsRecord(1, step, {{"loss", 0.5}}));
  };
  const auto steps = [&path] {
    std::vector<int64_t> list;
    for (const ReadEvent& event : EventReader::ReadAll(Contents(path))) {
      list.push_back(event.file_version.empty() ? event.step : -1);
    }
    return list;
  };
  auto directory = Open(/*resume=*/false);
  Write(run_ + "/config.toml", "");
  ASSERT_TRUE(append(*directory, 1).ok());
  const absl::StatusOr<int64_t> length = directory->Sync(RunLog::kEvents);
  ASSERT_TRUE(length.ok());
  ASSERT_TRUE(append(*directory, 2).ok());
  directory.reset();
  // What kill -9 leaves of a record.
  Write(path, Contents(path) + Contents(path).substr(*length, 20));

  directory = Open(/*resume=*/true);
  ASSERT_TRUE(directory->Truncate(RunLog::kEvents, *length).ok());
  ASSERT_TRUE(append(*directory, 3).ok());
  EXPECT_THAT(steps(), ElementsAre(-1, 1, 3));
  // From the first round on, the file begins with its version again.
  ASSERT_TRUE(directory->Truncate(RunLog::kEvents, 0).ok());
  ASSERT_TRUE(append(*directory, 4).ok());
  EXPECT_THAT(steps(), ElementsAre(-1, 4));
  EXPECT_THAT(logger_.messages, IsEmpty());
}

TEST_F(RunDirectoryTest, CutsShortEventsAfterTheirLastWholeRecord) {
  const std::string path = run_ + "/events.out.tfevents.fedlb";
  const std::string first = FileVersionRecord(1);
  const std::string second = ScalarsRecord(2, 1, {{"loss", 0.5}});
  const std::string whole = first + second;
  for (size_t length = 0; length <= 2 * whole.size(); ++length) {
    std::string before = whole.substr(0, length);
    std::string after = length >= whole.size()   ? whole
                        : length >= first.size() ? first
                                                 : "";
    if (length > whole.size()) {
      // As long as it should be, and a bit of it has flipped.
      before = whole;
      const size_t damaged = length - whole.size() - 1;
      before[damaged] ^= 4;
      after = damaged < first.size() ? "" : first;
    }
    Open(/*resume=*/false);
    Write(path, before);
    Write(run_ + "/config.toml", "");
    logger_.messages.clear();
    auto directory = Open(/*resume=*/true);
    ASSERT_TRUE(directory->Truncate(RunLog::kEvents, 20'000).ok());
    EXPECT_EQ(Contents(path), after) << length;
    EXPECT_THAT(logger_.messages, ElementsAre(HasSubstr("records")));
    unlink((run_ + "/config.toml").c_str());
  }
}

TEST_F(RunDirectoryTest, ReportsAFullDeviceWhileAppending) {
  auto directory = Open(/*resume=*/false);
  ASSERT_EQ(symlink("/dev/full", (run_ + "/metrics.jsonl").c_str()), 0);
  const absl::Status status = directory->Append(RunLog::kMetrics, "{}\n");
  EXPECT_EQ(FailureOf(status), Failure::kStorage);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("metrics.jsonl"), HasSubstr("No space left")));
}

TEST_F(RunDirectoryTest, KeepsWholeLinesOnAFullDisk) {
  const int result = RunInChild([&] {
    if (!MountSmallDisk(folder_.path(), 64 << 10)) {
      return kNotAllowed;
    }
    auto directory = Open(/*resume=*/false);
    const std::string line = std::string(1000, 'x') + "\n";
    int lines = 0;
    while (directory->Append(RunLog::kMetrics, line).ok() && lines < 1000) {
      ++lines;
    }
    EXPECT_GT(lines, 10);
    EXPECT_LT(lines, 64);
    EXPECT_EQ(Contents(run_ + "/metrics.jsonl").size(), lines * 1001u);
    return 0;
  });
  if (result == kNotAllowed) {
    GTEST_SKIP() << "no right to mount a file system";
  }
  EXPECT_EQ(result, 0);
}

TEST_F(RunDirectoryTest, KeepsTheNewestCheckpointsAndLoadsTheLast) {
  auto directory = Open(/*resume=*/false);
  EXPECT_TRUE(absl::IsNotFound(directory->LoadNewestCheckpoint().status()));
  for (int64_t round = 8; round <= 12; ++round) {
    ASSERT_TRUE(directory->SaveCheckpoint(MakeCheckpoint(round), 2).ok());
    const auto loaded = directory->LoadNewestCheckpoint();
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    ExpectIsCheckpoint(*loaded, round);
  }
  EXPECT_THAT(
      NamesIn(run_ + "/checkpoints"),
      ElementsAre("round-000011.safetensors", "round-000012.safetensors"));
  EXPECT_THAT(logger_.messages, IsEmpty());
}

TEST_F(RunDirectoryTest, FallsBackToAnOlderCheckpointAndSaysSo) {
  auto directory = Open(/*resume=*/false);
  for (int64_t round = 1; round <= 3; ++round) {
    ASSERT_TRUE(directory->SaveCheckpoint(MakeCheckpoint(round), kKeep).ok());
  }
  std::string bytes = Contents(CheckpointPath(3));
  bytes.back() ^= 1;
  Write(CheckpointPath(3), bytes);
  // A whole file under the name of another round.
  Write(CheckpointPath(2), Contents(CheckpointPath(1)));

  const auto loaded = directory->LoadNewestCheckpoint();
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  ExpectIsCheckpoint(*loaded, 1);
  EXPECT_THAT(
      logger_.messages,
      ElementsAre(AllOf(HasSubstr(CheckpointPath(3)), HasSubstr("digest")),
                  AllOf(HasSubstr(CheckpointPath(2)), HasSubstr("round")),
                  AllOf(HasSubstr("using"), HasSubstr(CheckpointPath(1)))));

  // The broken ones neither stay nor push out a good one.
  ASSERT_TRUE(directory->SaveCheckpoint(MakeCheckpoint(2), 2).ok());
  EXPECT_THAT(
      NamesIn(run_ + "/checkpoints"),
      ElementsAre("round-000001.safetensors", "round-000002.safetensors"));

  Write(CheckpointPath(1), "");
  Write(CheckpointPath(2), "");
  const absl::Status none = directory->LoadNewestCheckpoint().status();
  EXPECT_EQ(FailureOf(none), Failure::kInputFile);
  EXPECT_THAT(std::string(none.message()), HasSubstr(CheckpointPath(2)));
}

TEST_F(RunDirectoryTest, RefusesCheckpointsWithoutADigest) {
  auto directory = Open(/*resume=*/false);
  ASSERT_TRUE(directory->SaveCheckpoint(MakeCheckpoint(1), kKeep).ok());
  SafetensorsFile content = MakeCheckpoint(1).content;
  content.metadata["fedlb.round"] = "1";
  const auto bytes = SerializeSafetensors(content, SafetensorsDigest::kNone);
  ASSERT_TRUE(bytes.ok());
  Write(CheckpointPath(1), *bytes);
  EXPECT_EQ(FailureOf(directory->LoadNewestCheckpoint().status()),
            Failure::kInputFile);
}

// Flips, truncations and overwritten stretches, 1,000 of each.
TEST_F(RunDirectoryTest, NoticesEveryDamageToACheckpoint) {
  auto directory = Open(/*resume=*/false);
  ASSERT_TRUE(directory->SaveCheckpoint(MakeCheckpoint(7, 300), kKeep).ok());
  const std::string whole = Contents(CheckpointPath(7));
  std::mt19937_64 random(20260101);
  for (int i = 0; i < 3000; ++i) {
    std::string damaged = whole;
    const size_t at = random() % damaged.size();
    switch (i % 3) {
      case 0:
        damaged[at] ^= static_cast<char>(1 << random() % 8);
        break;
      case 1:
        damaged.resize(at);
        break;
      default:
        for (size_t k = at; k < std::min(at + 16, damaged.size()); ++k) {
          damaged[k] = static_cast<char>(random());
        }
        break;
    }
    ASSERT_NE(damaged, whole);
    Write(CheckpointPath(7), damaged);
    ASSERT_EQ(FailureOf(directory->LoadNewestCheckpoint().status()),
              Failure::kInputFile)
        << "case " << i << " at byte " << at;
  }
  Write(CheckpointPath(7), whole);
  const auto loaded = directory->LoadNewestCheckpoint();
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  ExpectIsCheckpoint(*loaded, 7, 300);
}

TEST_F(RunDirectoryTest, KeepsTheOldCheckpointOnDisksOfTwentySizes) {
  constexpr int64_t kElements = 16 << 10;  // 64 KiB
  int saved = 0;
  for (int pages = 20; pages < 40; ++pages) {
    const int result = RunInChild([&] {
      if (!MountSmallDisk(folder_.path(), pages * 4096)) {
        return kNotAllowed;
      }
      auto directory = Open(/*resume=*/false);
      EXPECT_TRUE(
          directory->SaveCheckpoint(MakeCheckpoint(1, kElements), 1).ok());
      const absl::Status status =
          directory->SaveCheckpoint(MakeCheckpoint(2, kElements), 1);
      const auto loaded = directory->LoadNewestCheckpoint();
      EXPECT_TRUE(loaded.ok()) << loaded.status();
      EXPECT_THAT(NamesIn(run_ + "/checkpoints"), SizeIs(1));
      if (status.ok()) {
        ExpectIsCheckpoint(*loaded, 2, kElements);
        return 0;
      }
      EXPECT_EQ(FailureOf(status), Failure::kStorage);
      EXPECT_THAT(std::string(status.message()),
                  AllOf(HasSubstr(CheckpointPath(2)), HasSubstr("bytes needed"),
                        HasSubstr("No space left")));
      ExpectIsCheckpoint(*loaded, 1, kElements);
      return 2;
    });
    if (result == kNotAllowed) {
      GTEST_SKIP() << "no right to mount a file system";
    }
    ASSERT_THAT(result, AnyOf(0, 2)) << pages;
    saved += result == 0 ? 1 : 0;
  }
  EXPECT_GT(saved, 0);
  EXPECT_LT(saved, 20);
}

// A child saves checkpoint after checkpoint, says which one is safe, and is
// killed at a random moment; 50 times in one folder.
TEST_F(RunDirectoryTest, IsAlwaysLoadableAfterAKill) {
  // Few enough for LibTorch to start no threads: a child has only the one that
  // forked it and would wait for the others for ever.
  constexpr int64_t kElements = 30'000;
  std::mt19937_64 random(20260102);
  int64_t acknowledged = 0;
  int strays = 0;
  for (int i = 0; i < 50; ++i) {
    int channel[2];
    ASSERT_EQ(pipe(channel), 0);
    const pid_t child = StartChild([&] {
      auto directory = Open(/*resume=*/acknowledged > 0);
      for (int64_t round = acknowledged + 1; directory != nullptr; ++round) {
        if (!directory->SaveCheckpoint(MakeCheckpoint(round, kElements), 2)
                 .ok() ||
            write(channel[1], &round, sizeof(round)) != sizeof(round)) {
          return 3;
        }
      }
      return 4;
    });
    close(channel[1]);
    int64_t round = 0;
    // The first answer shows that the loop is running.
    ASSERT_EQ(read(channel[0], &round, sizeof(round)), sizeof(round));
    acknowledged = round;
    usleep(static_cast<useconds_t>(random() % 15'000));
    kill(child, SIGKILL);
    ASSERT_EQ(WaitFor(child), -SIGKILL);
    while (read(channel[0], &round, sizeof(round)) == sizeof(round)) {
      acknowledged = round;
    }
    close(channel[0]);

    for (const std::string& name : NamesIn(run_ + "/checkpoints")) {
      strays += name.front() == '.' ? 1 : 0;
    }
    auto directory = Open(/*resume=*/true);
    ASSERT_NE(directory, nullptr);
    const auto loaded = directory->LoadNewestCheckpoint();
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    ASSERT_GE(loaded->round, acknowledged);
    ASSERT_LE(loaded->round, acknowledged + 1);
    ExpectIsCheckpoint(*loaded, loaded->round, kElements);
    for (const std::string& name : NamesIn(run_ + "/checkpoints")) {
      ASSERT_NE(name.front(), '.') << name;
    }
    acknowledged = loaded->round;
  }
  EXPECT_THAT(logger_.messages, IsEmpty());
  RecordProperty("stray_files", strays);
}

}  // namespace
}  // namespace fedlb
