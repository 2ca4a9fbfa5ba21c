// The largest safe batch of `fedlb profile` against real runs: it stays within the
// limit, and one that is five percent larger does not.

#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cli/process.h"

namespace fedlb::testing {
namespace {

using ::nlohmann::json;

struct Case {
  std::string model;
  std::vector<std::string> settings;
  std::string budget;
};

std::vector<std::string> Command(const std::string& name, const Case& c,
                                 const std::vector<std::string>& more) {
  std::vector<std::string> argv = {FEDLB_TEST_BINARY,
                                   name,
                                   "-q",
                                   "--format",
                                   "json",
                                   "--set",
                                   "dataset.name=synthetic",
                                   "--set",
                                   "dataset.train_size=60000",
                                   "--set",
                                   "dataset.test_size=16",
                                   "--set",
                                   "federation.clients=1",
                                   "--set",
                                   "sync_policy.name=bsp",
                                   "--set",
                                   "transport.workers=1",
                                   "--set",
                                   "optimizer.momentum=0.9",
                                   "--set",
                                   "optimizer.lr=1e-6",
                                   "--set",
                                   "model.name=" + c.model};
  for (const std::string& setting : c.settings) {
    argv.insert(argv.end(), {"--set", setting});
  }
  argv.insert(argv.end(), more.begin(), more.end());
  return argv;
}

// Whether a run of two rounds of this batch stays within the limit.
bool Runs(const TemporaryFolder& folder, const Case& c, int64_t batch_size) {
  const ProcessResult result = RunProcess(
      Command("train", c,
              {"--set", "execution.memory_limit=" + c.budget, "--set",
               "batch_policy.batch_size=" + std::to_string(batch_size), "--set",
               "rounds=2", "-o", "run" + std::to_string(batch_size)}),
      folder.path(), {}, /*timeout_seconds=*/300);
  EXPECT_TRUE(result.exit_code == 0 || result.exit_code == 5) << result.err;
  return result.exit_code == 0;
}

class LargestBatchTest : public ::testing::TestWithParam<Case> {};

TEST_P(LargestBatchTest, RunsAndIsNearlyTheLargestThatDoes) {
  const TemporaryFolder folder;
  const ProcessResult result =
      RunProcess(Command("profile", GetParam(),
                         {"--memory", GetParam().budget, "--memory-only"}),
                 folder.path(), {}, /*timeout_seconds=*/300);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const json data = json::parse(result.out)["data"];
  const int64_t safe = data["largest_safe_batch"];
  EXPECT_TRUE(Runs(folder, GetParam(), safe)) << safe;
  // None that is five percent larger runs, unless nothing larger was looked at.
  if (!data["largest_safe_is_limit"]) {
    EXPECT_FALSE(Runs(folder, GetParam(), safe * 100 / 95 + 1)) << safe;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Budgets, LargestBatchTest,
    ::testing::Values(Case{"cnn", {"dataset.shape=[1,28,28]"}, "256MiB"},
                      Case{"cnn", {"dataset.shape=[1,28,28]"}, "1GiB"},
                      Case{"cnn", {"dataset.shape=[1,28,28]"}, "4GiB"},
                      Case{"resnet18",
                           {"dataset.shape=[3,32,32]", "model.width=16",
                            "dataset.train_size=6000"},
                           "256MiB"},
                      Case{"resnet18",
                           {"dataset.shape=[3,32,32]", "model.width=16",
                            "dataset.train_size=6000"},
                           "1GiB"},
                      Case{"alexnet",
                           {"dataset.shape=[3,32,32]",
                            "dataset.train_size=6000"},
                           "1GiB"}),
    [](const auto& info) {
      return info.param.model + "_" + info.param.budget;
    });

}  // namespace
}  // namespace fedlb::testing
