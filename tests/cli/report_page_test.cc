// Reports in a real browser: no error, every chart painted, pictures to look
// at.

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/process.h"

namespace fedlb::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kBinary[] = FEDLB_TEST_BINARY;
constexpr char kPictures[] = FEDLB_TEST_BUILD_DIR "/tests/report_pages";

// The full path of a Chromium, or "".
std::string FindChromium() {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    for (const char* name : {"chromium", "chromium-browser", "google-chrome"}) {
      const std::filesystem::path file = std::filesystem::path(folder) / name;
      if (std::filesystem::exists(file)) {
        return file.string();
      }
    }
  }
  return "";
}

// Counts, of every canvas, the pixels that have the colour of one of its curves
// or bars.
constexpr char kCountPixels[] = R"(<script>
for (const canvas of document.querySelectorAll('canvas')) {
  const colors = Chart.getChart(canvas).data.datasets.map(set =>
      parseInt((set.borderColor || set.backgroundColor).slice(1, 7), 16));
  const data = canvas.getContext('2d')
      .getImageData(0, 0, canvas.width, canvas.height).data;
  let painted = 0;
  for (let i = 0; i < data.length; i += 4) {
    const near = (rgb, k) =>
        Math.abs((rgb >> 8 * (2 - k) & 255) - data[i + k]) < 8;
    if (data[i + 3] > 0 &&
        colors.some(rgb => [0, 1, 2].every(k => near(rgb, k)))) {
      ++painted;
    }
  }
  canvas.dataset.painted = painted;
}
</script>)";

struct Window {
  std::string name;
  int width = 1280;
  int height = 1900;
  bool dark = false;
};

class ReportPageTest : public ::testing::Test {
 protected:
  void SetUp() override {
    chromium_ = FindChromium();
    if (chromium_.empty()) {
      GTEST_SKIP() << "no Chromium in the PATH; Debian's package chromium has "
                      "one";
    }
    std::filesystem::create_directories(kPictures);
  }

  ProcessResult Fedlb(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), kBinary);
    ProcessResult result = RunProcess(arguments, folder_.path());
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result;
  }

  // A run with phases, gains, clients that differ, a clock and validation.
  void Train(const std::string& run, const std::vector<std::string>& sets) {
    std::vector<std::string> arguments = {
        "train",   "-c", FEDLB_TEST_SOURCE_DIR "/configs/smoke.toml",
        "--quiet", "-o", run};
    for (const std::string& set :
         {std::string("rounds=60"), std::string("dataset.noise=2"),
          std::string("dataset.validation_fraction=0.1"),
          std::string("gradient_mapper.name=step"),
          std::string("gradient_mapper.scope=server"),
          std::string("gradient_mapper.gain=4"),
          std::string("critical_phase.smoothing=none"),
          std::string("critical_phase.threshold=0.15")}) {
      arguments.insert(arguments.end(), {"--set", set});
    }
    for (const std::string& set : sets) {
      arguments.insert(arguments.end(), {"--set", set});
    }
    Fedlb(arguments);
  }

  ProcessResult Browse(const std::vector<std::string>& flags,
                       const std::string& page, const Window& window) {
    std::vector<std::string> command = {
        chromium_,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--hide-scrollbars",
        "--force-device-scale-factor=1",
        "--enable-logging=stderr",
        "--virtual-time-budget=5000",
        "--user-data-dir=" + folder_.path() + "/profile",
        "--window-size=" + std::to_string(window.width) + "," +
            std::to_string(window.height)};
    if (window.dark) {
      command.emplace_back("--blink-settings=preferredColorScheme=0");
    }
    command.insert(command.end(), flags.begin(), flags.end());
    command.push_back("file://" + folder_.path() + "/" + page);
    return RunProcess(command, folder_.path(), {{"HOME", folder_.path()}}, 120);
  }

  // Loads the page, checks it, and keeps a picture.
  void ExpectIsDrawn(const std::string& page, int min_charts,
                     const Window& window) {
    std::ifstream original(folder_.path() + "/" + page);
    std::ofstream(folder_.path() + "/counted.html")
        << original.rdbuf() << kCountPixels;
    const ProcessResult dump = Browse({"--dump-dom"}, "counted.html", window);
    ASSERT_EQ(dump.exit_code, 0) << dump.err;
    // What a page logs, uncaught errors and violations of its own content
    // policy included, goes to stderr as CONSOLE.
    EXPECT_THAT(dump.err, Not(HasSubstr("CONSOLE")));
    const std::regex canvas("<canvas[^>]*aria-label=\"([^\"]*)\"[^>]*>");
    const std::regex painted("data-painted=\"([0-9]+)\"");
    std::smatch match;
    int charts = 0;
    for (std::sregex_iterator it(dump.out.begin(), dump.out.end(), canvas), end;
         it != end; ++it) {
      const std::string element = it->str();
      ASSERT_TRUE(std::regex_search(element, match, painted)) << element;
      // A curve across the chart covers far more than a mark or two.
      EXPECT_GT(std::stoi(match[1]), 100) << (*it)[1];
      ++charts;
    }
    EXPECT_GE(charts, min_charts);

    const std::string picture =
        std::string(kPictures) + "/" + window.name + ".png";
    std::filesystem::remove(picture);
    const ProcessResult shot =
        Browse({"--screenshot=" + picture}, page, window);
    EXPECT_EQ(shot.exit_code, 0) << shot.err;
    EXPECT_GT(std::filesystem::file_size(picture), 20'000u);
  }

  const TemporaryFolder folder_;
  std::string chromium_;
};

TEST_F(ReportPageTest, DrawsARunInLightDarkAndNarrow) {
  Train("r",
        {"simulation.samples_per_second=[100]", "simulation.speed_spread=0.5"});
  for (const Window& window :
       {Window{.name = "run-light"}, Window{.name = "run-dark", .dark = true},
        Window{.name = "run-narrow", .width = 400, .height = 4200}}) {
    SCOPED_TRACE(window.name);
    ExpectIsDrawn("r/report.html", 8, window);
  }
}

TEST_F(ReportPageTest, DrawsAComparison) {
  for (const char* gain : {"1", "2", "4"}) {
    Train(std::string("g") + gain, {std::string("gradient_mapper.gain=") + gain,
                                    std::string("name=gain-") + gain});
  }
  Fedlb({"report", "g1", "g2", "g4", "-o", "c.html"});
  for (const Window& window :
       {Window{.name = "comparison-light"},
        Window{.name = "comparison-dark", .dark = true},
        Window{.name = "comparison-narrow", .width = 400, .height = 4200}}) {
    SCOPED_TRACE(window.name);
    ExpectIsDrawn("c.html", 6, window);
  }
}

TEST_F(ReportPageTest, RunsNoScriptFromAName) {
  Train("r", {"rounds=3"});
  std::filesystem::rename(folder_.path() + "/r",
                          folder_.path() + "/<img src=x onerror=alert(1)>");
  std::ofstream(folder_.path() + "/<img src=x onerror=alert(1)>/config.toml")
      << "name = '</script><script>document.title=\"owned\"</script>'\n";
  Fedlb({"report", "<img src=x onerror=alert(1)>", "-o", "c.html"});
  const ProcessResult dump = Browse({"--dump-dom"}, "c.html", {});
  EXPECT_THAT(dump.err, Not(HasSubstr("CONSOLE")));
  EXPECT_THAT(dump.out, Not(HasSubstr("<title>owned")));
  EXPECT_THAT(dump.out, Not(HasSubstr("<img src=x")));
  EXPECT_THAT(dump.out, HasSubstr("<canvas"));
}

}  // namespace
}  // namespace fedlb::testing
