#include "fedlb/durable_file.h"

#include <cerrno>
#include <csignal>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "core/storage_testing.h"
#include "fedlb/status.h"

namespace fedlb {
namespace {

using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Fault = FaultySystemCalls::Fault;

constexpr char kOld[] = "the old file";
// More than a page, so that half of it is something else.
const std::string& New() {
  static const std::string& bytes = *new std::string(20'000, 'n');
  return bytes;
}

// The numbers of the system calls of one write that succeeds.
int CallsOfOneWrite() {
  const TemporaryFolder folder;
  FaultySystemCalls calls;
  EXPECT_TRUE(WriteFileDurably(folder / "file", New()).ok());
  return static_cast<int>(calls.calls().size());
}

TEST(WriteFileDurablyTest, WritesAndReplacesFiles) {
  const TemporaryFolder folder;
  const std::string path = folder / "file";
  for (const std::string& bytes :
       {std::string("first"), std::string(), std::string("a\0b", 3), New()}) {
    ASSERT_TRUE(WriteFileDurably(path, bytes).ok());
    EXPECT_EQ(Contents(path), bytes);
  }
  EXPECT_THAT(NamesIn(folder.path()), ElementsAre("file"));
}

TEST(WriteFileDurablyTest, SyncsTheDataBeforeItRenamesAndTheFolderAfter) {
  const TemporaryFolder folder;
  FaultySystemCalls calls;
  ASSERT_TRUE(WriteFileDurably(folder / "file", "bytes").ok());
  EXPECT_THAT(calls.calls(), ElementsAre("open", "write", "fsync", "close",
                                         "rename", "open", "fsync", "close"));
}

TEST(WriteFileDurablyTest, GivesFilesTheModeOfTheirPredecessorOrTheUmask) {
  const TemporaryFolder folder;
  const std::string path = folder / "file";
  const mode_t umask_before = umask(027);
  struct stat information;
  ASSERT_TRUE(WriteFileDurably(path, "a").ok());
  ASSERT_EQ(stat(path.c_str(), &information), 0);
  EXPECT_EQ(information.st_mode & 0777, 0640u);
  ASSERT_EQ(chmod(path.c_str(), 0600), 0);
  ASSERT_TRUE(WriteFileDurably(path, "b").ok());
  ASSERT_EQ(stat(path.c_str(), &information), 0);
  EXPECT_EQ(information.st_mode & 0777, 0600u);
  umask(umask_before);
}

TEST(WriteFileDurablyTest, RefusesWhatIsNoFile) {
  const TemporaryFolder folder;
  Write(folder / "file", kOld);
  for (const std::string& path :
       {folder.path(), folder / "", std::string("/dev/full"), folder / "no/dir",
        folder / "file/below", std::string()}) {
    const absl::Status status = WriteFileDurably(path, "bytes");
    EXPECT_EQ(FailureOf(status), Failure::kStorage) << path;
    EXPECT_THAT(std::string(status.message()), HasSubstr(path));
  }
  EXPECT_EQ(Contents(folder / "file"), kOld);
}

TEST(WriteFileDurablyTest, KeepsTheOldFileWhicheverSystemCallFails) {
  const TemporaryFolder folder;
  const std::string path = folder / "file";
  const int calls = CallsOfOneWrite();
  for (const int error : {EIO, ENOSPC, EDQUOT, EROFS, EINTR}) {
    for (int at = 0; at < calls; ++at) {
      SCOPED_TRACE(absl::StrCat("call ", at, ", error ", error));
      Write(path, kOld);
      absl::Status status;
      std::string failed;
      {
        FaultySystemCalls faulty(at, Fault::kError, error);
        status = WriteFileDurably(path, New());
        failed = faulty.calls()[at];
      }
      EXPECT_THAT(NamesIn(folder.path()), ElementsAre("file"));
      if (status.ok()) {
        // The folder was synced, only its descriptor was not closed well; or
        // the interrupted call was made again.
        EXPECT_TRUE(error == EINTR || at == calls - 1);
        EXPECT_EQ(Contents(path), New());
        continue;
      }
      EXPECT_EQ(FailureOf(status), Failure::kStorage);
      EXPECT_THAT(std::string(status.message()), HasSubstr(path));
      EXPECT_THAT(std::string(status.message()), HasSubstr("20000 bytes"));
      // After the rename it is the new file.
      EXPECT_EQ(Contents(path), at <= 4 ? std::string(kOld) : New());
    }
  }
}

TEST(WriteFileDurablyTest, FinishesShortWrites) {
  const TemporaryFolder folder;
  const std::string path = folder / "file";
  FaultySystemCalls faulty(1, Fault::kHalf);
  ASSERT_TRUE(WriteFileDurably(path, New()).ok());
  EXPECT_EQ(faulty.calls()[2], "write");
  EXPECT_EQ(Contents(path), New());
}

TEST(WriteFileDurablyTest, LeavesTheOldOrTheNewFileWhereverTheProcessDies) {
  const TemporaryFolder folder;
  const std::string path = folder / "file";
  const int calls = CallsOfOneWrite();
  for (const Fault fault : {Fault::kDieBefore, Fault::kDieAfter}) {
    for (int at = 0; at < calls; ++at) {
      Write(path, kOld);
      ASSERT_EQ(RunInChild([&] {
                  FaultySystemCalls faulty(at, fault);
                  return WriteFileDurably(path, New()).ok() ? 0 : 2;
                }),
                -SIGKILL);
      EXPECT_THAT(Contents(path), AnyOf(std::string(kOld), New())) << at;
    }
  }
}

TEST(WriteFileDurablyTest, SurvivesFullDisksOfTwentySizes) {
  const TemporaryFolder folder;
  const std::string path = folder / "file";
  constexpr int64_t kPage = 4096;
  const std::string bytes(16 * kPage, 'n');
  int succeeded = 0;
  // The old file has a page of its own, which stays until the rename.
  for (int pages = 1; pages <= 20; ++pages) {
    const int result = RunInChild([&] {
      if (!MountSmallDisk(folder.path(), pages * kPage)) {
        return kNotAllowed;
      }
      Write(path, kOld);
      const absl::Status status = WriteFileDurably(path, bytes);
      EXPECT_THAT(NamesIn(folder.path()), ElementsAre("file"));
      if (status.ok()) {
        EXPECT_EQ(Contents(path), bytes);
        return 0;
      }
      EXPECT_EQ(FailureOf(status), Failure::kStorage);
      EXPECT_THAT(std::string(status.message()), HasSubstr(path));
      EXPECT_THAT(std::string(status.message()), HasSubstr("65536 bytes"));
      EXPECT_THAT(std::string(status.message()), HasSubstr("No space left"));
      EXPECT_EQ(Contents(path), kOld);
      return 2;
    });
    if (result == kNotAllowed) {
      GTEST_SKIP() << "no right to mount a file system";
    }
    ASSERT_THAT(result, AnyOf(0, 2)) << pages;
    succeeded += result == 0 ? 1 : 0;
  }
  EXPECT_EQ(succeeded, 4);
}

TEST(WriteFileDurablyTest, TakesAFileSizeLimitForAnErrorAndNotForASignal) {
  const TemporaryFolder folder;
  const std::string path = folder / "file";
  Write(path, kOld);
  EXPECT_EQ(RunInChild([&] {
              const rlimit limit = {4096, 4096};
              setrlimit(RLIMIT_FSIZE, &limit);
              signal(SIGXFSZ, SIG_DFL);
              const absl::Status status = WriteFileDurably(path, New());
              EXPECT_EQ(FailureOf(status), Failure::kStorage);
              EXPECT_THAT(std::string(status.message()),
                          HasSubstr("File too large"));
              sigset_t pending;
              sigpending(&pending);
              EXPECT_EQ(sigismember(&pending, SIGXFSZ), 0);
              EXPECT_EQ(Contents(path), kOld);
              return 0;
            }),
            0);
  EXPECT_THAT(NamesIn(folder.path()), ElementsAre("file"));
}

TEST(ReadWholeFileTest, ReadsUpToTheLimit) {
  const TemporaryFolder folder;
  const std::string path = folder / "file";
  for (const size_t size : {size_t{0}, size_t{1}, size_t{4096}, size_t{9999}}) {
    Write(path, std::string(size, 'x'));
    const auto read = ReadWholeFile(path, static_cast<int64_t>(size));
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(*read, std::string(size, 'x'));
    if (size > 0) {
      const auto refused = ReadWholeFile(path, static_cast<int64_t>(size) - 1);
      EXPECT_EQ(FailureOf(refused.status()), Failure::kInputFile);
      EXPECT_THAT(std::string(refused.status().message()), HasSubstr(path));
    }
  }
}

TEST(ReadWholeFileTest, ReadsFilesWhoseSizeIsNotKnown) {
  const auto read = ReadWholeFile("/proc/self/status", 1 << 20);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_THAT(*read, HasSubstr("Pid:"));
}

TEST(ReadWholeFileTest, TellsMissingFilesFromOnesThatCannotBeRead) {
  const TemporaryFolder folder;
  EXPECT_TRUE(absl::IsNotFound(ReadWholeFile(folder / "no", 10).status()));
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  for (const std::string& path :
       {folder.path(), folder / "pipe", std::string("/dev/zero")}) {
    EXPECT_EQ(FailureOf(ReadWholeFile(path, 10).status()), Failure::kInputFile)
        << path;
  }
}

// FIPS 180-2, appendix B.
TEST(Sha256HexTest, MatchesPublishedDigests) {
  EXPECT_EQ(Sha256Hex("abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Sha256Hex(""),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

}  // namespace
}  // namespace fedlb
