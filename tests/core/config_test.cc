// Layers of configuration, their origins, and hostile text.

#include "fedlb/config.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "core/config_errors.h"

namespace fedlb {
namespace {

using ::testing::HasSubstr;

// The value at a path like "optimizer.lr"; false where there is none.
const ConfigValue& At(const ConfigTable& table, const std::string& path) {
  static const ConfigValue kNone;
  const size_t dot = path.find('.');
  const ConfigValue* value = table.Find(path.substr(0, dot));
  if (value == nullptr) {
    ADD_FAILURE() << "nothing at " << path;
    return kNone;
  }
  return dot == std::string::npos
             ? *value
             : At(*value->As<ConfigTable>(), path.substr(dot + 1));
}

class ConfigTest : public ::testing::Test {
 protected:
  ConfigTest() {
    char folder[] = "/tmp/fedlb_config_test_XXXXXX";
    folder_ = mkdtemp(folder);
  }
  ~ConfigTest() override {
    for (const std::string& name : names_) {
      unlink(name.c_str());
    }
    rmdir(folder_.c_str());
  }

  std::string File(const std::string& name, const std::string& text) {
    names_.push_back(absl::StrCat(folder_, "/", name));
    std::ofstream(names_.back(), std::ios::binary) << text;
    return names_.back();
  }

  // Without the environment of whoever runs the test.
  static absl::StatusOr<ConfigTable> Load(std::vector<std::string> files,
                                          std::vector<std::string> sets) {
    return LoadConfig({std::move(files), false, std::move(sets)});
  }

  std::string folder_;
  std::vector<std::string> names_;
};

TEST_F(ConfigTest, NothingGivesAnEmptyTable) {
  const auto config = Load({}, {});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_TRUE(config->empty());
}

TEST_F(ConfigTest, ValuesKeepTheirTypesAndPositions) {
  const std::string path = File("a.toml",
                                "seed = 7\n"
                                "\n"
                                "[optimizer]\n"
                                "name = 'sgd' # a comment\n"
                                "  lr = 0.5\n"
                                "betas = [0.9,\n  1]\n"
                                "deep.er = true\n");
  const auto config = Load({path}, {});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(At(*config, "seed"), ConfigValue(int64_t{7}));
  EXPECT_EQ(At(*config, "seed").origin(), path + ":1:1");
  EXPECT_EQ(At(*config, "optimizer.lr"), ConfigValue(0.5));
  EXPECT_EQ(At(*config, "optimizer.lr").origin(), path + ":5:3");
  EXPECT_EQ(At(*config, "optimizer").As<ConfigTable>()->origin(),
            path + ":3:1");
  const auto* betas = At(*config, "optimizer.betas").As<ConfigValue::Array>();
  ASSERT_EQ(betas->size(), 2u);
  EXPECT_EQ((*betas)[1], ConfigValue(int64_t{1}));
  EXPECT_EQ((*betas)[1].origin(), path + ":7:3");
  EXPECT_EQ(At(*config, "optimizer.deep.er"), ConfigValue(true));
  EXPECT_EQ(At(*config, "optimizer.deep.er").origin(), path + ":8:6");
}

TEST_F(ConfigTest, LaterFilesWinAndTablesMerge) {
  const std::string first =
      File("1.toml", "a = [1, 2]\n[x]\np = 1\nq = 1\n[x.y]\nr = 1\n");
  const std::string second = File("2.toml", "a = [3]\n[x]\nq = 2\ny.s = 2\n");
  const auto config = Load({first, second}, {});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(At(*config, "a").ToString(), "[3]");
  EXPECT_EQ(At(*config, "x").ToString(),
            "{ p = 1, q = 2, y = { r = 1, s = 2 } }");
  EXPECT_EQ(At(*config, "x.p").origin(), first + ":3:1");
  EXPECT_EQ(At(*config, "x.q").origin(), second + ":3:1");
}

TEST_F(ConfigTest, EnvironmentIsOverFilesAndUnderSets) {
  const std::string path = File("a.toml", "[optimizer]\nlr = 1.0\n");
  setenv("FEDLB_SET__optimizer__lr", "2.0", 1);
  setenv("FEDLB_SET__optimizer__name", "adam", 1);
  setenv("FEDLB_SET__seed", "5", 1);
  const auto config = LoadConfig({{path}, true, {"optimizer.name = sgd"}});
  const auto without = LoadConfig({{path}, false, {}});
  unsetenv("FEDLB_SET__optimizer__lr");
  unsetenv("FEDLB_SET__optimizer__name");
  unsetenv("FEDLB_SET__seed");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(At(*config, "optimizer.lr"), ConfigValue(2.0));
  EXPECT_EQ(At(*config, "optimizer.lr").origin(), "FEDLB_SET__optimizer__lr");
  EXPECT_EQ(At(*config, "optimizer.name"), ConfigValue("sgd"));
  EXPECT_EQ(At(*config, "optimizer.name").origin(), "--set optimizer.name");
  EXPECT_EQ(At(*config, "seed"), ConfigValue(int64_t{5}));
  ASSERT_TRUE(without.ok());
  EXPECT_EQ(At(*without, "optimizer.lr"), ConfigValue(1.0));
}

TEST_F(ConfigTest, MalformedVariableSaysHowToWriteIt) {
  setenv("FEDLB_SET__optimizer__", "2.0", 1);
  const auto config = LoadConfig({});
  unsetenv("FEDLB_SET__optimizer__");
  EXPECT_THAT(config, IsConfigError("FEDLB_SET__optimizer__: write "
                                    "FEDLB_SET__section__key=value"));
}

TEST_F(ConfigTest, SetReadsTomlAndOtherwiseAString) {
  const auto value = [](const std::string& text) {
    const auto config = Load({}, {"a.b=" + text});
    EXPECT_TRUE(config.ok()) << config.status();
    return At(*config, "a.b").ToString();
  };
  EXPECT_EQ(value("1"), "1");
  EXPECT_EQ(value("1e-5"), "1e-05");
  EXPECT_EQ(value("true"), "true");
  EXPECT_EQ(value("[1, 2]"), "[1, 2]");
  EXPECT_EQ(value("{ c = 'x' }"), "{ c = \"x\" }");
  EXPECT_EQ(value("'1'"), "\"1\"");
  EXPECT_EQ(value("cnn"), "\"cnn\"");
  EXPECT_EQ(value("/data/a=b.gz"), "\"/data/a=b.gz\"");
  EXPECT_EQ(value(""), "\"\"");
  EXPECT_EQ(value("2026-11-23"), "\"2026-11-23\"");
  EXPECT_EQ(value("1\nc = 2"), "\"1\\nc = 2\"");
  EXPECT_EQ(value("[1, 2"), "\"[1, 2\"");
}

TEST_F(ConfigTest, MalformedSetSaysHowToWriteIt) {
  EXPECT_THAT(Load({}, {"optimizer.lr"}),
              IsConfigError("--set optimizer.lr: no value; write --set "
                            "section.key=value"));
  for (const char* set : {"=1", ".lr=1", "optimizer.=1", "a..b=1"}) {
    EXPECT_THAT(Load({}, {set}), IsConfigError("write --set section.key=value"))
        << set;
  }
  std::string deep = "a";
  for (int i = 0; i < 100000; ++i) {
    deep += ".a";
  }
  const auto too_deep = Load({}, {deep + "=1"});
  EXPECT_THAT(too_deep, IsConfigError("write --set"));
  EXPECT_LT(too_deep.status().message().size(), 200u);
  EXPECT_THAT(Load({}, {"a=\xff"}), IsConfigError("--set a: not UTF-8"));
  EXPECT_THAT(Load({}, {"\xff=1"}), IsConfigError("not UTF-8"));
}

TEST_F(ConfigTest, UnreadableFilesAreNamed) {
  EXPECT_THAT(Load({"/nonexistent/run.toml"}, {}),
              IsConfigError("/nonexistent/run.toml: no such file"));
  EXPECT_THAT(Load({folder_}, {}), IsConfigError(folder_ + ": is a directory"));
  if (geteuid() != 0) {
    const std::string path = File("a.toml", "");
    chmod(path.c_str(), 0);
    EXPECT_THAT(Load({path}, {}), IsConfigError("Permission denied"));
  }
}

TEST_F(ConfigTest, FileOfOneMebibyteIsReadAndNotAByteMore) {
  const std::string text = "a = 1 #" + std::string((1 << 20) - 7, 'x');
  EXPECT_TRUE(Load({File("a.toml", text)}, {}).ok());
  EXPECT_THAT(Load({File("b.toml", text + "x")}, {}),
              IsConfigError("b.toml: larger than 1 MiB"));
  EXPECT_THAT(ParseToml(text + "x", "c"), IsConfigError("larger than 1 MiB"));
}

TEST(ParseTomlTest, SyntaxErrorsHavePositions) {
  EXPECT_THAT(ParseToml("a = 1\nb = = 2\n", "x.toml"),
              IsConfigError("x.toml:2:5: "));
  EXPECT_THAT(ParseToml("a = 1\na = 2\n", "x.toml"),
              IsConfigError("cannot redefine existing integer 'a'"));
  EXPECT_THAT(ParseToml("a = 1\na = 2\n", "x.toml"),
              IsConfigError("x.toml:2:"));
  EXPECT_THAT(ParseToml("[a]\n[a]\n", "x.toml"), IsConfigError("x.toml:2:1: "));
  const auto long_key = ParseToml("'" + std::string(100000, 'x') + "' = 1\n'" +
                                      std::string(100000, 'x') + "' = 2\n",
                                  "x.toml");
  EXPECT_THAT(long_key, IsConfigError("cannot redefine"));
  EXPECT_LT(long_key.status().message().size(), 300u);
  EXPECT_THAT(ParseToml("a = \"b\n", "x.toml"), IsConfigError("x.toml:1:"));
  EXPECT_THAT(ParseToml("a = 9223372036854775808", "x.toml"),
              IsConfigError("x.toml:1:"));
}

TEST(ParseTomlTest, DatesAreRefused) {
  for (const char* date : {"2026-11-23", "07:32:00", "2026-11-23T07:32:00Z"}) {
    EXPECT_THAT(ParseToml(absl::StrCat("\nwhen = ", date), "x.toml"),
                IsConfigError("x.toml:2:1: when: dates and times have no use "
                              "here; put quotes around a string"));
  }
  EXPECT_THAT(ParseToml("a = [1, 2026-11-23]", "x.toml"),
              IsConfigError("x.toml:1:9: a: dates"));
}

TEST(ParseTomlTest, ByteOrderMarksAndCarriageReturnsAreNoTrouble) {
  const auto config = ParseToml(
      "\xEF\xBB\xBF"
      "a = 1\r\n[b]\r\nc = 2\r\n",
      "x");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(At(*config, "a"), ConfigValue(int64_t{1}));
  EXPECT_EQ(At(*config, "b.c").origin(), "x:3:1");
  EXPECT_THAT(ParseToml("\xFF\xFE"
                        "a = 1",
                        "x"),
              IsConfigError("x:1:1: "));
  EXPECT_THAT(ParseToml(std::string("a = \"\0\"", 7), "x"),
              IsConfigError("x:"));
  EXPECT_THAT(ParseToml("a = 1\rb = 2", "x"), IsConfigError("x:1:"));
  EXPECT_THAT(ParseToml("a = \"\xC0\x80\"", "x"), IsConfigError("x:1:"));
}

TEST(ParseTomlTest, NotANumberAndInfinityAreNumbers) {
  const auto config = ParseToml("a = nan\nb = -inf\n", "x");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_TRUE(std::isnan(*At(*config, "a").As<double>()));
  EXPECT_EQ(*At(*config, "b").As<double>(),
            -std::numeric_limits<double>::infinity());
}

std::string Repeat(const std::string& text, int count) {
  std::string repeated;
  for (int i = 0; i < count; ++i) {
    repeated += text;
  }
  return repeated;
}

TEST(HostileTomlTest, ManyDotsAreRefusedBeforeTheParserSeesThem) {
  const std::string dots = "a" + Repeat(".a", 100000);
  for (const std::string& text :
       {dots + " = 1", "[" + dots + "]", "[[" + dots + "]]",
        "x = { " + dots + " = 1 }", "x = [{ " + dots + " = 1 }]",
        // Strings that end earlier or later than it seems.
        "s = \"\\\\\"\n" + dots + " = 1", "s = '\\'\n" + dots + " = 1",
        "s = '''\n''''\n" + dots + " = 1", "s = \"\"\n" + dots + " = 1",
        "s = \"\"\"\\\"\"\"\"\n" + dots + " = 1", "# '\n" + dots + " = 1",
        "\"#\".'b'" + dots.substr(1) + " = 1",
        "a" + Repeat(" .\t\"a\"", 100000) + " = 1"}) {
    EXPECT_THAT(ParseToml(text, "x.toml"),
                IsConfigError("a key has more than 32 dotted parts"))
        << text.substr(0, 20);
  }
}

TEST(HostileTomlTest, DotsElsewhereAreCountedByNobody) {
  for (const std::string& text :
       {"a = \"" + Repeat(".", 1000) + "\"", "a = '" + Repeat(".", 1000) + "'",
        "a = \"\"\"\n\"\"" + Repeat(".", 1000) + "\"\"\"\"\"",
        "a = '''\n''" + Repeat(".", 1000) + "'''''", "# " + Repeat(".", 1000),
        "a = [" + Repeat("0.5, ", 1000) + "]",
        "a" + Repeat(".a", 31) + " = 0.5", "'" + Repeat(".", 1000) + "' = 1"}) {
    const auto config = ParseToml(text, "x.toml");
    EXPECT_TRUE(config.ok()) << config.status();
  }
  EXPECT_THAT(ParseToml("\n a" + Repeat(".a", 32) + " = 1", "x.toml"),
              IsConfigError("x.toml:2:65: a key has more than 32"));
}

TEST(HostileTomlTest, NothingButQuotesIsReadInNoTime) {
  for (const char* quote : {"\"", "'"}) {
    EXPECT_THAT(ParseToml("a = " + Repeat(quote, 1000000), "x"),
                IsConfigError("x:1:"));
  }
}

TEST(HostileTomlTest, DeepNestingIsRefused) {
  const auto arrays = [](int depth) {
    return "a = " + Repeat("[", depth) + Repeat("]", depth);
  };
  const auto tables = [](int depth) {
    return "a = " + Repeat("{ a = ", depth) + "1" + Repeat(" }", depth);
  };
  EXPECT_TRUE(ParseToml(arrays(64), "x").ok());
  EXPECT_TRUE(ParseToml(tables(64), "x").ok());
  for (const int depth : {65, 300, 100000}) {
    EXPECT_THAT(ParseToml(arrays(depth), "x"), IsConfigError("nested more"));
    EXPECT_THAT(ParseToml(tables(depth), "x"), IsConfigError("nested more"));
    EXPECT_THAT(ParseToml("a = " + Repeat("[", depth), "x"),
                IsConfigError("nested more"));
  }
  // Keys of 32 parts, each of which holds the next.
  EXPECT_THAT(ParseToml("a = " + Repeat("{ a" + Repeat(".a", 31) + " = ", 60) +
                            "1" + Repeat(" }", 60),
                        "x"),
              IsConfigError("nested more"));
}

TEST(PrintTomlTest, ValuesComeBeforeTablesAndTheNameFirst) {
  const auto table = ParseToml(
      "a = 1\n[s]\nb = 1.0\nname = 'x'\n[s.inner]\n'c d' = []\n[e]\n", "f");
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_EQ(PrintToml(*table, false),
            "a = 1\n"
            "\n[e]\n"
            "\n[s]\n"
            "name = \"x\"\n"
            "b = 1.0\n"
            "\n[s.inner]\n"
            "\"c d\" = []\n");
  EXPECT_EQ(PrintToml(*table, true, {"s", "e"}),
            "a = 1  # f:1:1\n"
            "\n[s]  # f:2:1\n"
            "b = 1.0  # f:3:1\n"
            "name = \"x\"  # f:4:1\n"
            "\n[s.inner]  # f:5:1\n"
            "\"c d\" = []  # f:6:1\n"
            "\n[e]  # f:7:1\n");
}

TEST(PrintTomlTest, NumbersHaveTheShortestDigitsThatReadBack) {
  const auto text = [](double value) { return ConfigValue(value).ToString(); };
  EXPECT_EQ(text(1), "1.0");
  EXPECT_EQ(text(0.1), "0.1");
  EXPECT_EQ(text(1e-5), "1e-05");
  EXPECT_EQ(text(1e300), "1e+300");
  EXPECT_EQ(text(-0.0), "-0.0");
  EXPECT_EQ(text(1.0 / 3), "0.3333333333333333");
  EXPECT_EQ(text(-std::numeric_limits<double>::infinity()), "-inf");
  EXPECT_EQ(text(std::nan("")), "nan");
}

TEST(PrintTomlTest, OriginCannotBreakOutOfItsComment) {
  ConfigTable table;
  table.Set("a", ConfigValue(int64_t{1}, "x\nb = 2\xff.toml:1:1"));
  EXPECT_EQ(PrintToml(table, true), "a = 1  # x?b = 2?.toml:1:1\n");
  table.Set("a", ConfigValue(int64_t{1}, "caf\xC3\xA9.toml:1:1"));
  EXPECT_EQ(PrintToml(table, true), "a = 1  # caf\xC3\xA9.toml:1:1\n");
}

// A table of everything that TOML can say, but dates and NaN.
class RandomTables {
 public:
  explicit RandomTables(uint32_t seed) : random_(seed) {}

  ConfigTable Table(int depth) {
    ConfigTable table;
    for (size_t i = Below(5); i > 0; --i) {
      table.Set(Text(), Value(depth));
    }
    return table;
  }

 private:
  size_t Below(size_t end) { return random_() % end; }

  std::string Text() {
    static const std::vector<std::string> kPieces = {
        "a",          "Z9",
        "_-",         ".",
        " ",          "\"",
        "\\",         "'''",
        "\n",         "\r\n",
        "\t",         "#",
        "=",          "[x]",
        "\b",         "\x7f",
        "",           "é",
        "€",          "\u2028",
        "\U0001F600", std::string(1, '\0')};
    std::string text;
    for (size_t i = Below(4); i > 0; --i) {
      text += kPieces[Below(kPieces.size())];
    }
    return text;
  }

  double Number() {
    const uint64_t bits = uint64_t{random_()} << 32 | random_();
    double number;
    static_assert(sizeof(number) == sizeof(bits));
    std::memcpy(&number, &bits, sizeof(bits));
    return std::isfinite(number) ? number
                                 : std::numeric_limits<double>::infinity();
  }

  int64_t Integer() {
    static const std::vector<int64_t> kEdges = {
        0, -1, 8, std::numeric_limits<int64_t>::max(),
        std::numeric_limits<int64_t>::min()};
    return Below(2) == 0
               ? kEdges[Below(kEdges.size())]
               : static_cast<int64_t>(uint64_t{random_()} << 32 | random_());
  }

  ConfigValue Value(int depth) {
    switch (Below(depth > 0 ? 6 : 4)) {
      case 0:
        return ConfigValue(Below(2) == 0);
      case 1:
        return ConfigValue(Integer());
      case 2:
        return ConfigValue(Number());
      case 3:
        return ConfigValue(Text());
      case 4: {
        ConfigValue::Array array;
        for (size_t i = Below(4); i > 0; --i) {
          array.push_back(Value(depth - 1));
        }
        return ConfigValue(std::move(array));
      }
      default:
        return ConfigValue(Table(depth - 1));
    }
  }

  std::mt19937 random_;
};

TEST(PrintTomlTest, ParseReadsBackWhatPrintWrites) {
  RandomTables random(1);
  for (int i = 0; i < 2000; ++i) {
    const ConfigTable table = random.Table(6);
    for (const bool with_origins : {false, true}) {
      const std::string text = PrintToml(table, with_origins);
      const auto parsed = ParseToml(text, "x");
      ASSERT_TRUE(parsed.ok()) << parsed.status() << "\n" << text;
      ASSERT_EQ(PrintToml(*parsed, false), PrintToml(table, false));
      ASSERT_TRUE(*parsed == table) << text;
    }
  }
}

TEST(PrintTomlTest, TablesAsDeepAsTheParserTakesAreReadBack) {
  ConfigTable table;
  ConfigTable* inner = &table;
  for (int i = 0; i < 64; ++i) {
    inner = &inner->Subtable("a");
  }
  inner->Set("b", ConfigValue(0.5));
  const auto parsed = ParseToml(PrintToml(table, false), "x");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_TRUE(*parsed == table);
}

}  // namespace
}  // namespace fedlb
