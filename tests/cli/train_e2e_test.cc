// fedlb train as processes: same bits on every way, and runs that are stopped.

#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cli/process.h"

namespace fedlb::testing {
namespace {

using ::nlohmann::json;
using ::testing::HasSubstr;

constexpr char kConfig[] = FEDLB_TEST_SOURCE_DIR "/configs/smoke.toml";

std::vector<std::string> TrainCommand(const std::vector<std::string>& flags) {
  std::vector<std::string> argv = {FEDLB_TEST_BINARY, "train", "--format",
                                   "json"};
  argv.insert(argv.end(), flags.begin(), flags.end());
  return argv;
}

ProcessResult Train(
    const TemporaryFolder& folder, const std::vector<std::string>& flags,
    const std::map<std::string, std::string>& environment = {}) {
  return RunProcess(TrainCommand(flags), folder.path(), environment);
}

// `data` of a run that succeeded.
json Data(const ProcessResult& result) {
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const json envelope = json::parse(result.out, nullptr, false);
  return envelope.is_object() ? envelope["data"] : json::object();
}

std::string Weights(const ProcessResult& result) {
  const std::string digest = Data(result).value("weights_sha256", "");
  EXPECT_EQ(digest.size(), 64U) << result.out;
  return digest;
}

// metrics.jsonl, line by line; every line must be whole.
std::vector<json> Metrics(const std::string& run_dir) {
  std::vector<json> lines;
  std::ifstream file(run_dir + "/metrics.jsonl");
  for (std::string line; std::getline(file, line);) {
    lines.push_back(json::parse(line, nullptr, false));
    EXPECT_TRUE(lines.back().is_object()) << line;
  }
  return lines;
}

bool WaitFor(const std::function<bool()>& condition, double seconds) {
  const auto deadline =
      std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) {
      return false;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return true;
}

TEST(TrainTest, NumberOfWorkersAndTheCodecDoNotChangeTheWeights) {
  const TemporaryFolder folder;
  const std::string expected = Weights(Train(
      folder, {"-c", kConfig, "-o", "r1", "--set", "transport.workers=1"}));
  for (const char* workers : {"2", "3", "4"}) {
    EXPECT_EQ(
        Weights(Train(folder,
                      {"-c", kConfig, "-o", std::string("r") + workers, "--set",
                       std::string("transport.workers=") + workers})),
        expected)
        << workers << " workers";
  }
  for (const char* workers : {"1", "3"}) {
    EXPECT_EQ(Weights(Train(folder,
                            {"-c", kConfig, "-o", std::string("wire") + workers,
                             "--set", "transport.wire=true", "--set",
                             std::string("transport.workers=") + workers})),
              expected)
        << "over the codec, " << workers << " workers";
  }
}

TEST(TrainTest, SavedConfigurationGivesTheSameRun) {
  const TemporaryFolder folder;
  std::ofstream(folder.path() + "/more.toml")
      << "[optimizer]\nlr = 0.03\nmomentum = 0.5\n";
  const ProcessResult original = Train(folder,
                                       {"-c", kConfig, "-c", "more.toml", "-o",
                                        "a", "--set", "optimizer.momentum=0.8"},
                                       {{"FEDLB_SET__seed", "11"}});
  const std::string weights = Weights(original);
  EXPECT_NE(Weights(Train(folder, {"-c", kConfig, "-o", "plain"})), weights);
  EXPECT_EQ(Weights(Train(folder, {"-c", "a/config.toml", "-o", "b"})),
            weights);
  EXPECT_EQ(ReadFile(folder.path() + "/a/config.toml"),
            ReadFile(folder.path() + "/b/config.toml"));
}

// Every run is killed at a random moment and resumed, until 20 kills have hit.
TEST(TrainTest, KilledRunsResumeToTheSameWeights) {
  constexpr int kKills = 20;
  constexpr int kRounds = 100;
  const TemporaryFolder folder;
  const std::vector<std::string> settings = {
      "--set", "rounds=" + std::to_string(kRounds)};
  const auto with = [&settings](std::vector<std::string> flags) {
    flags.insert(flags.end(), settings.begin(), settings.end());
    return flags;
  };
  const auto started = std::chrono::steady_clock::now();
  const std::string expected =
      Weights(Train(folder, with({"-c", kConfig, "-o", "whole"})));
  const std::chrono::duration<double> whole =
      std::chrono::steady_clock::now() - started;

  std::mt19937 random(20260101);
  std::uniform_real_distribution<double> moment(0, whole.count());
  int kills = 0;
  int kills_in_training = 0;
  int completed = 0;
  for (int attempt = 0; kills < kKills && attempt < 20 * kKills; ++attempt) {
    const std::string name = "r" + std::to_string(completed);
    const std::string run_dir = folder.path() + "/" + name;
    const bool begun = std::filesystem::exists(run_dir + "/config.toml");
    Process process(TrainCommand(begun ? with({"--resume", name})
                                       : with({"-c", kConfig, "-o", name})),
                    folder.path());
    std::this_thread::sleep_for(std::chrono::duration<double>(moment(random)));
    process.Signal(SIGKILL);
    const ProcessResult result = process.Wait(60);
    if (result.exit_code == 128 + SIGKILL) {
      ++kills;
      kills_in_training +=
          std::filesystem::exists(run_dir + "/checkpoints") ? 1 : 0;
      continue;
    }
    ASSERT_EQ(Weights(result), expected) << "after " << kills << " kills";
    ++completed;
  }
  ASSERT_EQ(kills, kKills);
  EXPECT_GE(kills_in_training, kKills / 2);

  const std::string name = "r" + std::to_string(completed);
  const std::string run_dir = folder.path() + "/" + name;
  if (std::filesystem::exists(run_dir + "/config.toml")) {
    EXPECT_EQ(Weights(Train(folder, with({"--resume", name}))), expected);
    ++completed;
  }
  ASSERT_GT(completed, 0);
  for (int i = 0; i < completed; ++i) {
    const std::vector<json> metrics =
        Metrics(folder.path() + "/r" + std::to_string(i));
    ASSERT_EQ(metrics.size(), static_cast<size_t>(kRounds));
    for (int round = 0; round < kRounds; ++round) {
      EXPECT_EQ(metrics[round]["round"], round + 1);
    }
  }
}

class StopTest : public ::testing::TestWithParam<int> {};

TEST_P(StopTest, WritesACheckpointAndResumes) {
  const int signal = GetParam();
  const TemporaryFolder folder;
  const std::string run_dir = folder.path() + "/r";
  Process process(
      TrainCommand({"-c", kConfig, "-o", "r", "--set", "rounds=100000"}),
      folder.path());
  ASSERT_TRUE(WaitFor([&] { return Metrics(run_dir).size() >= 3; }, 60));
  process.Signal(signal);
  const ProcessResult result = process.Wait(30);
  EXPECT_EQ(result.exit_code, 128 + signal) << result.err;
  const json envelope = json::parse(result.out);
  EXPECT_EQ(envelope["status"], "interrupted");
  EXPECT_EQ(envelope["exit_code"], 128 + signal);
  EXPECT_EQ(envelope["error"]["code"], "interrupted");
  EXPECT_EQ(envelope["data"]["run_dir"], "r");
  EXPECT_THAT(result.err, HasSubstr("fedlb train --resume r"));

  const int done = static_cast<int>(Metrics(run_dir).size());
  const std::string rounds = "rounds=" + std::to_string(done + 2);
  EXPECT_EQ(
      Weights(Train(folder, {"--resume", "r", "--set", rounds})),
      Weights(Train(folder, {"-c", kConfig, "-o", "whole", "--set", rounds})));
}

INSTANTIATE_TEST_SUITE_P(Signals, StopTest, ::testing::Values(SIGINT, SIGTERM));

TEST(TrainTest, ASignalDoesNotWaitForTheEndOfALongRound) {
  const TemporaryFolder folder;
  Process process(TrainCommand({"-c", kConfig, "-o", "r", "--set", "rounds=1",
                                "--set", "sync_policy.local_epochs=1000000"}),
                  folder.path());
  ASSERT_TRUE(WaitFor(
      [&] { return std::filesystem::exists(folder.path() + "/r/config.toml"); },
      60));
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  process.Signal(SIGINT);
  const ProcessResult result = process.Wait(10);
  EXPECT_FALSE(result.timed_out);
  EXPECT_EQ(result.exit_code, 130) << result.err;
}

TEST(TrainTest, ASecondSignalEndsTheProcessAtOnce) {
  const TemporaryFolder folder;
  Process process(
      TrainCommand({"-c", kConfig, "-o", "r", "--set", "rounds=100000"}),
      folder.path());
  ASSERT_TRUE(
      WaitFor([&] { return !Metrics(folder.path() + "/r").empty(); }, 60));
  process.Signal(SIGINT);
  process.Signal(SIGTERM);
  const ProcessResult result = process.Wait(5);
  EXPECT_FALSE(result.timed_out);
  EXPECT_TRUE(result.exit_code == 130 || result.exit_code == 143)
      << result.exit_code;
  // What is on disk is a run that can go on.
  const std::string rounds =
      std::to_string(Metrics(folder.path() + "/r").size() + 1);
  EXPECT_EQ(
      Train(folder, {"--resume", "r", "--set", "rounds=" + rounds}).exit_code,
      0);
}

// A private mount namespace with a small tmpfs on ./mnt, then `script`.
ProcessResult OnSmallDisk(const TemporaryFolder& folder,
                          const std::string& script) {
  const std::string flags = geteuid() == 0 ? "-m" : "-rm";
  return RunProcess({"/usr/bin/env", "unshare", flags, "/bin/sh", "-c",
                     "mkdir -p mnt && mount -t tmpfs -o size=1m none mnt || "
                     "exit 77; " +
                         script},
                    folder.path());
}

TEST(TrainTest, AFullDiskKeepsTheLastCheckpointAndTheProcessEndsCleanly) {
  const TemporaryFolder folder;
  const ProcessResult probe = OnSmallDisk(folder, "exit 0");
  if (probe.exit_code != 0) {
    GTEST_SKIP() << "no private mount here: " << probe.err;
  }
  const std::string train =
      std::string(FEDLB_TEST_BINARY) + " train --quiet --format json ";
  const ProcessResult result = OnSmallDisk(
      folder,
      // What the filler leaves takes the weights and the page of the end.
      "head -c 600000 /dev/zero > mnt/filler; " + train + "-c " + kConfig +
          " -o mnt/r --set rounds=80 --set checkpoint.keep=80 > full.json; "
          "echo $? > code; ls mnt/r/checkpoints > checkpoints; "
          "rm mnt/filler; rounds=$(ls mnt/r/checkpoints | wc -l); " +
          train +
          "--resume mnt/r --set rounds=$((rounds + 1)) > resumed.json; " +
          train + "-c " + kConfig +
          " -o whole --set rounds=$((rounds + 1)) > whole.json");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(ReadFile(folder.path() + "/code"), "10\n");
  const json full = json::parse(ReadFile(folder.path() + "/full.json"));
  EXPECT_EQ(full["error"]["code"], "storage");
  EXPECT_THAT(full["error"]["message"], HasSubstr("No space left on device"));
  const std::string checkpoints = ReadFile(folder.path() + "/checkpoints");
  EXPECT_THAT(checkpoints, HasSubstr("round-000001.safetensors"));
  EXPECT_THAT(checkpoints, ::testing::Not(HasSubstr("tmp")));
  const json resumed = json::parse(ReadFile(folder.path() + "/resumed.json"));
  const json whole = json::parse(ReadFile(folder.path() + "/whole.json"));
  EXPECT_EQ(resumed["data"]["weights_sha256"], whole["data"]["weights_sha256"]);
}

}  // namespace
}  // namespace fedlb::testing
