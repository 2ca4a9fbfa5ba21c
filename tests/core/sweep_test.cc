#include "fedlb/sweep.h"

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/storage_testing.h"
#include "fedlb/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedlb {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(ParseSeedsTest, TakesNumbersAndRanges) {
  EXPECT_THAT(*ParseSeeds("3"), ElementsAre(3));
  EXPECT_THAT(*ParseSeeds("1..4"), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(*ParseSeeds("9,1..2,7"), ElementsAre(9, 1, 2, 7));
}

TEST(ParseSeedsTest, RefusesWhatIsNone) {
  for (const char* text : {"", "a", "-1", "4..1", "1..2..3", "1,,2", "1,1",
                           "1..3,2", "0..10000", "1.5"}) {
    const auto seeds = ParseSeeds(text);
    EXPECT_EQ(FailureOf(seeds.status()), Failure::kConfig) << text;
    EXPECT_THAT(std::string(seeds.status().message()),
                HasSubstr(absl::StrCat("\"", text, "\"")));
  }
}

TEST(ExpandSettingsTest, CombinesListsTheLastOneFastest) {
  const auto settings = ExpandSettings(
      {"rounds=5", "optimizer.lr=0.1, 0.2", "model.name=mlp,cnn"});
  ASSERT_TRUE(settings.ok());
  ASSERT_THAT(*settings, SizeIs(4));
  EXPECT_EQ((*settings)[1].label, "optimizer.lr=0.1, model.name=cnn");
  EXPECT_THAT((*settings)[1].sets,
              ElementsAre("rounds=5", "optimizer.lr=0.1", "model.name=cnn"));
  EXPECT_EQ((*settings)[2].label, "optimizer.lr=0.2, model.name=mlp");
}

TEST(ExpandSettingsTest, CommasInBracketsAndQuotesAreNoLists) {
  const auto settings = ExpandSettings(
      {"dataset.shape=[1,28,28]", "name=\"a,b\"", "x={ a = 1, b = 2 }"});
  ASSERT_TRUE(settings.ok());
  ASSERT_THAT(*settings, SizeIs(1));
  EXPECT_EQ(settings->front().label, "");
  EXPECT_EQ(settings->front().sets.front(), "dataset.shape=[1,28,28]");
}

TEST(ExpandSettingsTest, RefusesWhatIsNoAssignment) {
  EXPECT_FALSE(ExpandSettings({"rounds"}).ok());
  EXPECT_FALSE(ExpandSettings({"=3"}).ok());
  EXPECT_FALSE(ExpandSettings({"rounds=1,,2"}).ok());
  const std::string hundred_and_one = "a=" + std::string(100, '0') + [] {
    std::string list;
    for (int i = 0; i < 100; ++i) {
      absl::StrAppend(&list, ",", i);
    }
    return list;
  }();
  EXPECT_TRUE(ExpandSettings({hundred_and_one}).ok());
  EXPECT_FALSE(ExpandSettings({hundred_and_one, hundred_and_one}).ok());
}

class SweepFileTest : public ::testing::Test {
 protected:
  absl::StatusOr<Sweep> Read(const std::string& text) {
    Write(folder_ / "study.toml", text);
    return ReadSweepFile(folder_ / "study.toml");
  }

  TemporaryFolder folder_;
};

TEST_F(SweepFileTest, IsReadWithPathsRelativeToIt) {
  const auto sweep = Read(R"(
config = ["base.toml"]
seeds = "1..3"
tuning_seeds = [11, 12]
[[method]]
name = "SGD"
set = ["optimizer.lr=0.1,0.2"]
[[method]]
name = "Adam"
)");
  ASSERT_TRUE(sweep.ok()) << sweep.status();
  EXPECT_THAT(sweep->configs, ElementsAre(folder_ / "base.toml"));
  EXPECT_THAT(sweep->seeds, ElementsAre(1, 2, 3));
  EXPECT_THAT(sweep->tuning_seeds, ElementsAre(11, 12));
  ASSERT_THAT(sweep->methods, SizeIs(2));
  EXPECT_EQ(sweep->methods[0].name, "SGD");
  EXPECT_THAT(sweep->methods[0].sets, ElementsAre("optimizer.lr=0.1,0.2"));
  EXPECT_THAT(sweep->methods[1].sets, IsEmpty());
}

TEST_F(SweepFileTest, MayLeaveTheTuningSeedsOpen) {
  const auto sweep = Read("seeds = 4\n[[method]]\nname = \"a\"\n");
  ASSERT_TRUE(sweep.ok()) << sweep.status();
  EXPECT_THAT(sweep->tuning_seeds, IsEmpty());
}

TEST_F(SweepFileTest, MistakesAreNamedWithTheirPlace) {
  struct Case {
    const char* text;
    const char* message;
  };
  for (const Case& c : {
           Case{"seeds = 1\n", "[[method]]"},
           Case{"[[method]]\nname = \"a\"\n", "seeds"},
           Case{"seeds = \"x\"\n[[method]]\nname = \"a\"\n", "study.toml:1"},
           Case{"seeds = 1\n[[method]]\nnam = \"a\"\n", "name"},
           Case{"seeds = 1\nmethods = 2\n[[method]]\nname = \"a\"\n",
                "methods"},
           Case{"seeds = 1\n[[method]]\nname = \"a\"\n[[method]]\nname = "
                "\"a\"\n",
                "a name of its own"},
           Case{"seeds = 1\n[[method]]\nset = []\n", "a name of its own"},
           Case{"seeds = [\n", "study.toml"},
       }) {
    const auto sweep = Read(c.text);
    EXPECT_EQ(FailureOf(sweep.status()), Failure::kConfig) << c.text;
    EXPECT_THAT(std::string(sweep.status().message()), HasSubstr(c.message))
        << c.text;
  }
  EXPECT_EQ(FailureOf(ReadSweepFile(folder_ / "none.toml").status()),
            Failure::kConfig);
}

TEST(ReadSweepRunTest, TakesTheEvaluationsOfARun) {
  TemporaryFolder folder;
  Write(folder / "metrics.jsonl",
        R"({"type":"round","round":1,"steps":4,"samples":64,"seconds":0.5}
{"type":"round","round":2,"steps":8,"samples":128,"seconds":1,"test_accuracy":0.5,"validation_accuracy":0.4}
{"type":"round","round":3,"steps":12,"samples":192,"seconds":1.5,"test_accuracy":0.75}
)");
  const auto run = ReadSweepRun(folder.path());
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_THAT(run->points, SizeIs(2));
  EXPECT_EQ(run->points[0].steps, 8);
  EXPECT_EQ(run->points[0].samples, 128);
  EXPECT_EQ(run->points[0].seconds, 1);
  EXPECT_EQ(run->points[0].test_accuracy, 0.5);
  EXPECT_EQ(run->points[0].validation_accuracy, 0.4);
  EXPECT_EQ(run->points[1].test_accuracy, 0.75);
  EXPECT_TRUE(std::isnan(run->points[1].validation_accuracy));
}

TEST(ReadSweepRunTest, ARunWithoutEvaluationIsRefused) {
  TemporaryFolder folder;
  Write(folder / "metrics.jsonl",
        "{\"type\":\"round\",\"round\":1,\"samples\":64}\n");
  EXPECT_EQ(FailureOf(ReadSweepRun(folder.path()).status()),
            Failure::kInputFile);
}

// A run with these accuracies, on both splits, at steps 1, 2, ...
SweepRun RunWith(const std::vector<double>& accuracies) {
  SweepRun run;
  for (const double accuracy : accuracies) {
    const auto step = static_cast<double>(run.points.size() + 1);
    run.points.push_back({step, 10 * step, 0.5 * step, accuracy, accuracy});
  }
  return run;
}

SweepRun Diverged() {
  SweepRun run;
  run.diverged = true;
  return run;
}

TEST(MeanAndDeviationTest, DividesByOneLess) {
  const Spread spread = MeanAndDeviation({1, 2, 4});
  EXPECT_DOUBLE_EQ(spread.mean, 7.0 / 3);
  // (16/9 + 1/9 + 25/9) / 2 = 7/3.
  EXPECT_DOUBLE_EQ(spread.deviation, std::sqrt(7.0 / 3));
  EXPECT_TRUE(std::isnan(MeanAndDeviation({3}).deviation));
  EXPECT_TRUE(std::isnan(MeanAndDeviation({}).mean));
}

TEST(ChooseSettingTest, TheScoreIsOfTheLastThreeEvaluations) {
  EXPECT_DOUBLE_EQ(ValidationScore({RunWith({0.9, 0.1, 0.2, 0.3})}), 0.2);
  EXPECT_DOUBLE_EQ(
      ValidationScore({RunWith({0.1}), Diverged(), RunWith({0.3})}), 0.2);
  // The first has the best end and the best maximum, the second the best score.
  EXPECT_EQ(*ChooseSetting({{RunWith({0.95, 0.1, 0.1, 0.9})},
                            {RunWith({0.5, 0.6, 0.6, 0.6})}}),
            1U);
}

TEST(ChooseSettingTest, SettingsThatDivergeComeLast) {
  EXPECT_EQ(*ChooseSetting({{RunWith({0.9}), Diverged()},
                            {RunWith({0.5}), RunWith({0.5})},
                            {Diverged(), Diverged()}}),
            1U);
  EXPECT_EQ(*ChooseSetting({{Diverged()}, {RunWith({0.2})}}), 1U);
  EXPECT_EQ(*ChooseSetting({{Diverged()}, {Diverged()}}), 0U);
}

TEST(ChooseSettingTest, NeedsAValidationSplitToChooseOn) {
  SweepRun run = RunWith({0.9});
  run.points[0].validation_accuracy = NAN;
  EXPECT_EQ(*ChooseSetting({{run}}), 0U);
  const absl::Status status = ChooseSetting({{run}, {run}}).status();
  EXPECT_EQ(FailureOf(status), Failure::kConfig);
  EXPECT_THAT(std::string(status.message()), HasSubstr("validation_fraction"));
}

TEST(TabulateTest, ComparesAtWhatEveryRunReached) {
  SweepRun slow = RunWith({0.1, 0.2});
  for (SweepPoint& point : slow.points) {
    point.samples *= 2;   // 20, 40
    point.seconds *= 10;  // 5, 10
  }
  const SweepRun fast = RunWith({0.3, 0.5, 0.6, 0.8});  // 40 samples, 2 s
  const SweepTable table = Tabulate(
      {{.method = "slow", .setting = "lr=1", .runs = {slow, Diverged()}},
       {.method = "fast", .runs = {fast, fast}}});
  EXPECT_EQ(table.equal_steps, 2);
  EXPECT_EQ(table.equal_samples, 40);
  EXPECT_EQ(table.equal_seconds, 2);
  ASSERT_THAT(table.rows, SizeIs(2));
  EXPECT_EQ(table.rows[0].runs, 2);
  EXPECT_EQ(table.rows[0].diverged, 1);
  EXPECT_DOUBLE_EQ(table.rows[0].final_accuracy.mean, 0.2);
  EXPECT_DOUBLE_EQ(table.rows[0].last_three.mean, 0.15);
  // Its first evaluation came after 5 s.
  EXPECT_TRUE(std::isnan(table.rows[0].at_equal_seconds.mean));
  EXPECT_DOUBLE_EQ(table.rows[1].final_accuracy.mean, 0.8);
  EXPECT_DOUBLE_EQ(table.rows[1].last_three.mean, 1.9 / 3);
  EXPECT_DOUBLE_EQ(table.rows[1].at_equal_steps.mean, 0.5);
  EXPECT_DOUBLE_EQ(table.rows[1].at_equal_samples.mean, 0.8);
  EXPECT_DOUBLE_EQ(table.rows[1].at_equal_seconds.mean, 0.8);
}

}  // namespace
}  // namespace fedlb
