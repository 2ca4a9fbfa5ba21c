#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "absl/strings/str_cat.h"
#include "core/storage_testing.h"
#include "fedlb/run_directory.h"
#include "fedlb/status.h"

namespace fedlb {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::string MustRender(const std::string& run_dir) {
  auto page = RenderReport(run_dir);
  EXPECT_TRUE(page.ok()) << page.status();
  return page.ok() ? *std::move(page) : "";
}

TEST(RenderReportTest, ShowsCurvesFiguresAndFiles) {
  const TemporaryFolder folder;
  Write(folder / "metrics.jsonl",
        R"({"type":"round","round":1,"test_accuracy":0.5,"train_loss":2,)"
        R"("gradient_change":0.25,"critical":1,"mapper.gain":4})"
        "\n"
        R"({"type":"round","round":2,"test_accuracy":0.75,"train_loss":1.5})"
        "\n"
        R"({"type":"round","round":3,"test_accuracy":0.625,"train_loss":1})"
        "\n");
  Write(folder / "config.toml", "name = \"quickstart\"\n");
  Write(folder / "run.json", "{\"seed\": 1}");
  const std::string page = MustRender(folder.path());
  EXPECT_THAT(page,
              AllOf(HasSubstr("[[1,0.5],[2,0.75],[3,0.625]]"),
                    HasSubstr("[[1,2],[2,1.5],[3,1]]"), HasSubstr("[[1,0.25]]"),
                    HasSubstr("[[1,4]]"), HasSubstr("\"critical\":[1]")));
  EXPECT_THAT(page,
              AllOf(HasSubstr("<td>Test accuracy</td><td>0.625</td>"),
                    HasSubstr("<td>Best test accuracy</td><td>0.75 (round 2)"),
                    HasSubstr("name = &quot;quickstart&quot;"),
                    HasSubstr("{&quot;seed&quot;: 1}")));
}

TEST(RenderReportTest, LoadsNothing) {
  const TemporaryFolder folder;
  Write(folder / "metrics.jsonl", "");
  const std::string page = MustRender(folder.path());
  EXPECT_THAT(page, HasSubstr("default-src 'none'"));
  EXPECT_THAT(page, AllOf(Not(HasSubstr("src=")), Not(HasSubstr("href=")),
                          Not(HasSubstr("@import")), Not(HasSubstr("url("))));
}

TEST(RenderReportTest, EscapesWhatItShows) {
  const TemporaryFolder folder;
  const std::string run = folder / "<img src=x onerror=alert(1)>";
  ASSERT_EQ(mkdir(run.c_str(), 0700), 0);
  Write(run + "/metrics.jsonl",
        R"({"type":"round","round":1,"test_accuracy":"</script><script>"})"
        "\n");
  Write(run + "/config.toml", "name = \"</pre><script>alert('x')&\"");
  const std::string page = MustRender(run);
  EXPECT_THAT(page, AllOf(Not(HasSubstr("<img")), Not(HasSubstr("</pre><scr")),
                          HasSubstr("&lt;/pre&gt;&lt;script&gt;alert(&#39;x"
                                    "&#39;)&amp;")));
}

TEST(RenderReportTest, PassesOverLinesThatAreNotRounds) {
  const TemporaryFolder folder;
  Write(folder / "metrics.jsonl",
        absl::StrCat(
            "\n[]\nnot json\n{\"type\":\"other\",\"round\":7}\n"
            "{\"type\":\"round\"}\n{\"type\":\"round\",\"round\":1,"
            "\"mapper.gain\":1e999}\n{\"type\":\"round\",\"round\":\"x\"}\n",
            std::string(100'000, '['), "\n", std::string(2 << 20, '['),
            "\n\xff\xfe\n",
            "{\"type\":\"round\",\"round\":5,\"mapper.gain\":2,"
            "\"test_loss\":null,\"future\":[1]}\n",
            "{\"type\":\"round\",\"round\":6,\"ga"));
  const std::string page = MustRender(folder.path());
  EXPECT_THAT(page, AllOf(HasSubstr("[[5,2]]"), HasSubstr("<td>5</td>"),
                          Not(HasSubstr("\"Loss\""))));
}

TEST(RenderReportTest, NamesTheFolderThatHoldsNoRun) {
  const TemporaryFolder folder;
  const absl::Status status = RenderReport(folder.path()).status();
  EXPECT_EQ(FailureOf(status), Failure::kInputFile);
  EXPECT_THAT(std::string(status.message()), HasSubstr(folder.path()));
}

}  // namespace
}  // namespace fedlb
