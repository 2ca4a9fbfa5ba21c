#include "fedlb/report.h"

#include <cmath>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/storage_testing.h"
#include "fedlb/status.h"

namespace fedlb {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

constexpr char kTwoRounds[] =
    R"({"type":"round","round":1,"rounds":3,"samples":10,"seconds":0.5,)"
    R"("test_accuracy":0.5,"train_loss":2,"gradient_change":0.25,)"
    R"("critical":1,"mapper.gain":4,"mapper.scaled":1,"round_seconds":0.5,)"
    R"("peak_bytes.batch":300,"peak_bytes.total":400})"
    "\n"
    R"({"type":"round","round":2,"rounds":3,"samples":20,"seconds":1.5,)"
    R"("test_accuracy":0.75,"train_loss":1.5,"gradient_change":0.125,)"
    R"("critical":0,"mapper.gain":1,"mapper.scaled":0,"round_seconds":1,)"
    R"("peak_bytes.batch":350,"peak_bytes.total":500})"
    "\n";

Report MustRender(const std::vector<std::string>& run_dirs) {
  auto report = RenderReport(run_dirs);
  EXPECT_TRUE(report.ok()) << report.status();
  return report.ok() ? *std::move(report) : Report();
}

// What stands in the page between the two marks.
std::string Between(const std::string& page, absl::string_view begin,
                    absl::string_view end) {
  const size_t from = page.find(std::string(begin));
  EXPECT_NE(from, std::string::npos) << begin;
  const size_t start = from + begin.size();
  return page.substr(start, page.find(std::string(end), start) - start);
}

// The charts of a page by their id.
std::map<std::string, json> Charts(const Report& report) {
  const json list = json::parse(
      Between(report.page, "id=\"data\">", "</script>"), nullptr, false);
  EXPECT_TRUE(list.is_array());
  std::map<std::string, json> charts;
  for (const json& chart : list) {
    charts[chart["id"]] = chart;
  }
  return charts;
}

std::vector<std::string> Ids(const std::map<std::string, json>& charts) {
  std::vector<std::string> ids;
  for (const auto& [id, chart] : charts) {
    ids.push_back(id);
  }
  return ids;
}

class RenderReportTest : public ::testing::Test {
 protected:
  std::string Run(const std::string& name, absl::string_view metrics,
                  absl::string_view config = "") {
    const std::string run = folder_ / name;
    EXPECT_EQ(mkdir(run.c_str(), 0700), 0);
    Write(run + "/metrics.jsonl", metrics);
    Write(run + "/config.toml", config);
    return run;
  }

  const TemporaryFolder folder_;
};

TEST_F(RenderReportTest, ShowsCurvesFiguresAndFiles) {
  const std::string run =
      Run("r-2026", kTwoRounds,
          "name = \"quick\"\n[critical_phase]\nthreshold = 0.2\n");
  Write(run + "/run.json", "{\"seed\": 1}");
  const Report report = MustRender({run});
  const auto charts = Charts(report);
  EXPECT_THAT(Ids(charts),
              ElementsAre("accuracy", "gain", "gain_density", "gradient_change",
                          "loss", "memory", "time"));
  EXPECT_EQ(charts.at("accuracy")["series"],
            json::parse(R"([{"name":"test","color":0,"points":{"round":[1,2],
              "samples":[10,20],"seconds":[0.5,1.5],"value":[0.5,0.75]}}])"));
  EXPECT_EQ(charts.at("gradient_change")["critical"], json::parse("[[1,1]]"));
  EXPECT_EQ(charts.at("gradient_change")["level"],
            json::parse(R"({"name":"threshold","value":0.2})"));
  EXPECT_EQ(charts.at("memory")["series"][0]["values"], json::parse("[350]"));

  const std::string& page = report.page;
  EXPECT_THAT(page, HasSubstr("<title>quick \u00b7 r-2026 \u00b7 fedlb<"));
  EXPECT_THAT(page,
              AllOf(HasSubstr("<td>Rounds</td><td>2 of 3</td>"),
                    HasSubstr("<td>Test accuracy</td><td>0.75</td>"),
                    HasSubstr("<td>Best test accuracy</td><td>0.7500 (round "
                              "2)"),
                    HasSubstr("name = &quot;quick&quot;"),
                    HasSubstr("{&quot;seed&quot;: 1}")));

  ASSERT_THAT(report.runs, SizeIs(1));
  const RunSummary& summary = report.runs[0];
  EXPECT_EQ(summary.name, "quick");
  EXPECT_EQ(summary.rounds, 2);
  EXPECT_EQ(summary.planned_rounds, 3);
  EXPECT_EQ(summary.samples, 20);
  EXPECT_EQ(summary.best_round, 2);
  EXPECT_EQ(summary.scaled_share, 0.5);
  EXPECT_EQ(summary.peak_bytes, 500);
}

TEST_F(RenderReportTest, LeavesOutChartsThatWouldBeFlat) {
  std::string metrics;
  for (int round = 1; round <= 3; ++round) {
    absl::StrAppend(&metrics, R"({"type":"round","round":)", round,
                    R"(,"lr":0.1,"mapper.gain":1,"test_accuracy":0.)", round,
                    "}\n");
  }
  EXPECT_THAT(Ids(Charts(MustRender({Run("r", metrics)}))),
              ElementsAre("accuracy"));
}

TEST_F(RenderReportTest, DrawsTheSpreadOverClientsAndOtherMapperScalars) {
  std::string metrics;
  for (int round = 1; round <= 2; ++round) {
    absl::StrAppend(&metrics, R"({"type":"round","round":)", round,
                    R"(,"client_accuracy_min":0.)", round,
                    R"(,"client_accuracy_mean":0.5,"client_accuracy_max":0.9,)",
                    R"("mapper.norm_ratio":)", round, R"(,"virtual_seconds":)",
                    10 * round, "}\n");
  }
  const auto charts = Charts(MustRender({Run("r", metrics)}));
  EXPECT_THAT(Ids(charts), ElementsAre("client_accuracy", "mapper.norm_ratio",
                                       "virtual_time"));
  EXPECT_EQ(charts.at("client_accuracy")["series"][2]["points"]["value"],
            json::parse("[0.1,0.2]"));
  EXPECT_EQ(charts.at("mapper.norm_ratio")["title"], "Mapper: norm ratio");
}

TEST_F(RenderReportTest, LoadsNothing) {
  const std::string page = MustRender({Run("r", kTwoRounds)}).page;
  EXPECT_THAT(page, HasSubstr("default-src 'none'"));
  EXPECT_THAT(page, HasSubstr("Chart.js v3."));
  // The page without the text of the chart library.
  const std::string library =
      Between(page, "</script>\n<script>\n/*!", "\n'use");
  std::string own = page;
  own.erase(own.find(library), library.size());
  EXPECT_THAT(own, AllOf(Not(HasSubstr("src=")), Not(HasSubstr("href=")),
                         Not(HasSubstr("@import")), Not(HasSubstr("url("))));
  EXPECT_THAT(page, Not(HasSubstr("sourceMappingURL")));
}

// RFC 4648, section 10: the base64 of "foobar" is "Zm9vYmFy".
TEST_F(RenderReportTest, EmbedsThePictureOfThePartition) {
  const std::string run = Run("r", kTwoRounds);
  EXPECT_THAT(MustRender({run}).page, Not(HasSubstr("<img")));
  Write(run + "/partition.svg", "foobar");
  EXPECT_THAT(MustRender({run}).page,
              HasSubstr("src=\"data:image/svg+xml;base64,Zm9vYmFy\""));
}

TEST_F(RenderReportTest, EscapesWhatItShows) {
  const std::string evil = "</script><img src=x onerror=alert(1)>";
  std::vector<std::string> runs;
  for (const char* folder : {"<img src=a>", "<img src=b>"}) {
    const std::string run =
        Run(folder, kTwoRounds,
            absl::StrCat("name = '", evil,
                         "'\n[optimizer]\nname = '<img src=", folder, "'\n"));
    Write(run + "/run.json", evil);
    runs.push_back(run);
  }
  for (const Report& report : {MustRender({runs[0]}), MustRender(runs)}) {
    EXPECT_THAT(report.page, Not(HasSubstr("<img")));
    // Two scripts, the data, and the ends of these.
    size_t ends = 0;
    for (size_t at = report.page.find("</script"); at != std::string::npos;
         at = report.page.find("</script", at + 1)) {
      ++ends;
    }
    EXPECT_EQ(ends, 3u);
    EXPECT_THAT(report.page, HasSubstr("&lt;img src=x onerror=alert(1)&gt;"));
  }
}

TEST_F(RenderReportTest, PassesOverLinesThatAreNotRounds) {
  const std::string metrics = absl::StrCat(
      "\n[]\nnot json\n{\"type\":\"other\",\"round\":7}\n"
      "{\"type\":\"round\"}\n{\"type\":\"round\",\"round\":1,"
      "\"mapper.gain\":1e999}\n{\"type\":\"round\",\"round\":\"x\"}\n",
      std::string(100'000, '['), "\n", std::string(2 << 20, '['),
      "\n\xff\xfe\n",
      "{\"type\":\"round\",\"round\":5,\"mapper.gain\":2,"
      "\"test_loss\":null,\"future\":[1]}\n",
      "{\"type\":\"round\",\"round\":6,\"mapper.gain\":3,"
      "\"test_accuracy\":\"high\"}\n",
      // Earlier than the one before, and beyond what a round can be.
      "{\"type\":\"round\",\"round\":5,\"mapper.gain\":9}\n",
      "{\"type\":\"round\",\"round\":18446744073709551615}\n",
      "{\"type\":\"round\",\"round\":7,\"mapper.ga");
  const Report report = MustRender({Run("r", metrics)});
  EXPECT_EQ(report.runs[0].rounds, 6);
  // No JSON: 5 and the torn end; no object: 1; no later round: 4.
  EXPECT_EQ(report.runs[0].damaged_lines, 11);
  EXPECT_TRUE(std::isnan(report.runs[0].test_accuracy));
  const auto charts = Charts(report);
  EXPECT_THAT(Ids(charts), ElementsAre("gain", "gain_density"));
  EXPECT_EQ(charts.at("gain")["series"][0]["points"],
            json::parse(R"({"round":[5,6],"value":[2,3]})"));
}

TEST_F(RenderReportTest, KeepsLongRunsSmall) {
  std::string metrics;
  for (int round = 1; round <= 30'000; ++round) {
    absl::StrAppend(&metrics, R"({"type":"round","round":)", round,
                    R"(,"test_accuracy":)", round == 12'345 ? 1 : 0,
                    R"(,"critical":)", round % 2, R"(,"gradient_change":)",
                    round % 10, "}\n");
  }
  const Report report = MustRender({Run("r", metrics)});
  EXPECT_EQ(report.runs[0].best_round, 12'345);
  const auto charts = Charts(report);
  for (const char* id : {"accuracy", "gradient_change"}) {
    EXPECT_LE(charts.at(id)["series"][0]["points"]["round"].size(), 2000u);
  }
  EXPECT_LE(charts.at("gradient_change")["critical"].size(), 1000u);
  EXPECT_LT(report.page.size(), 1u << 20);
}

TEST_F(RenderReportTest, ComparesRuns) {
  const std::string a =
      Run("a", kTwoRounds, "name = \"x\"\nrounds = 3\n[optimizer]\nlr = 0.1\n");
  const std::string b =
      Run("b",
          R"({"type":"round","round":1,"samples":40,"seconds":4,)"
          R"("test_accuracy":0.25,"test_loss":1})"
          "\n"
          R"({"type":"round","round":2,"samples":80,"seconds":8,)"
          R"("test_accuracy":0.625,"test_loss":2})"
          "\n",
          "name = \"x\"\nrounds = 2\n[optimizer]\nlr = 0.1\nmomentum = 0.9\n");
  const Report report = MustRender({a, b});
  EXPECT_THAT(report.differing_keys,
              ElementsAre("optimizer.momentum", "rounds"));
  // The first run passes 0.625 in its second round, with 0.75.
  EXPECT_EQ(report.common_accuracy, 0.625);
  EXPECT_EQ(report.runs[0].rounds_to_common, 2);
  EXPECT_EQ(report.runs[0].samples_to_common, 20);
  EXPECT_EQ(report.runs[1].samples_to_common, 80);
  const auto charts = Charts(report);
  ASSERT_THAT(charts.at("accuracy")["series"], SizeIs(2));
  // Named alike in their configurations, so by their folders.
  EXPECT_EQ(charts.at("accuracy")["series"][1]["name"], "b");
  EXPECT_EQ(charts.at("accuracy")["series"][1]["points"]["seconds"],
            json::parse("[4,8]"));
  EXPECT_THAT(report.page,
              AllOf(HasSubstr("<td class=\"best\">0.7500</td>"),
                    HasSubstr("<td>0.6250</td>"),
                    HasSubstr("<code>optimizer.momentum</code></th>"
                              "<td>\u2013</td><td>0.9</td>")));
}

TEST_F(RenderReportTest, MarksTheBestOfAColumnUnlessAllLookEqual) {
  std::vector<std::string> runs;
  for (const char* figures : {R"("test_loss":0.50001,"train_loss":2)",
                              R"("test_loss":0.50002,"train_loss":1)",
                              R"("test_loss":0.50003,"train_loss":1.00001)"}) {
    runs.push_back(
        Run(absl::StrCat("r", runs.size()),
            absl::StrCat(R"({"type":"round","round":1,)", figures, "}\n")));
  }
  const std::string page = MustRender(runs).page;
  EXPECT_THAT(page, AllOf(HasSubstr("<td>0.5000</td><td>2.0000</td>"),
                          Not(HasSubstr("<td class=\"best\">0.5000"))));
  const std::string marked = "<td class=\"best\">1.0000</td>";
  const size_t first = page.find(marked);
  ASSERT_NE(first, std::string::npos);
  EXPECT_NE(page.find(marked, first + 1), std::string::npos);
}

TEST_F(RenderReportTest, AcceptsARunThatHasNotDoneARound) {
  const std::string run = folder_ / "new";
  ASSERT_EQ(mkdir(run.c_str(), 0700), 0);
  Write(run + "/config.toml", "rounds = 9\n");
  const Report report = MustRender({run});
  EXPECT_EQ(report.runs[0].rounds, 0);
  EXPECT_EQ(report.runs[0].planned_rounds, 9);
  EXPECT_THAT(Charts(report), IsEmpty());
  const Report both = MustRender({run, Run("r", kTwoRounds)});
  EXPECT_TRUE(std::isnan(both.common_accuracy));
}

TEST_F(RenderReportTest, NamesTheFolderThatHoldsNoRun) {
  const std::string run = Run("r", kTwoRounds);
  for (const std::string& bad : {folder_.path(), folder_ / "nowhere"}) {
    const absl::Status status = RenderReport({run, bad}).status();
    EXPECT_EQ(FailureOf(status), Failure::kInputFile);
    EXPECT_THAT(std::string(status.message()), HasSubstr(bad));
  }
  ASSERT_EQ(mkfifo((folder_ / "metrics.jsonl").c_str(), 0600), 0);
  const absl::Status pipe = RenderReport({folder_.path()}).status();
  EXPECT_EQ(FailureOf(pipe), Failure::kInputFile);
  EXPECT_THAT(std::string(pipe.message()), HasSubstr("regular file"));
}

}  // namespace
}  // namespace fedlb
