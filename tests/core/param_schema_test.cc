// Options declared once: types, bounds, messages, printing.

#include "fedlb/param_schema.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/config_errors.h"

namespace fedlb {
namespace {

using ::testing::ElementsAre;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

enum class Phase { kCritical, kCalm };

struct Options {
  bool nesterov = false;
  int64_t batch_size = 64;
  double trim_fraction = 0.1;
  double lr = 1;
  std::string path = "a\\b";
  std::vector<int64_t> batch_sizes = {32, 64};
  std::vector<double> betas = {0.9, 0.999};
  std::vector<std::string> plugins;
  AutoInteger threads{1};
  ByteCount limit;
  ConfigTable teacher;
  Phase phase = Phase::kCalm;

  friend bool operator==(const Options&, const Options&) = default;
};

ParamSchema<Options> Schema() {
  return ParamSchema<Options>()
      .Add("nesterov", &Options::nesterov, "Look ahead.")
      .Add("batch_size", &Options::batch_size, "Examples.", AtLeast(1))
      .Add("trim_fraction", &Options::trim_fraction, "Share.",
           InHalfOpen(0, 0.5))
      .Add("lr", &Options::lr, "Rate.")
      .Add("path", &Options::path, "Where.")
      .Add("batch_sizes", &Options::batch_sizes, "Each client's.", AtLeast(1))
      .Add("betas", &Options::betas, "Decays.", InOpen(0, 1))
      .Add("plugins", &Options::plugins, "Files.")
      .Add("threads", &Options::threads, "Threads.")
      .Add("limit", &Options::limit, "Memory.")
      .Add("teacher", &Options::teacher, "Teacher.")
      .AddChoice("phase", &Options::phase,
                 {{"critical", Phase::kCritical}, {"calm", Phase::kCalm}},
                 "When.");
}

// What comes of `key` = `value`, written at run.toml:3:1.
absl::StatusOr<Options> ParseOne(const std::string& key,
                                 ConfigValue::Data value) {
  ConfigTable table;
  table.Set(key, ConfigValue(std::move(value), "run.toml:3:1"));
  return Schema().Parse(table);
}

template <typename... T>
ConfigValue::Data List(T... values) {
  return ConfigValue::Array{ConfigValue(values)...};
}

TEST(ParamSchemaTest, EmptyTableGivesTheDefaults) {
  const auto options = Schema().Parse(ConfigTable());
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(*options, Options());
}

TEST(ParamSchemaTest, EveryTypeIsRead) {
  EXPECT_TRUE(ParseOne("nesterov", true)->nesterov);
  EXPECT_EQ(ParseOne("batch_size", int64_t{7})->batch_size, 7);
  EXPECT_EQ(ParseOne("lr", 0.25)->lr, 0.25);
  EXPECT_EQ(ParseOne("lr", int64_t{2})->lr, 2.0);
  EXPECT_EQ(ParseOne("path", "x")->path, "x");
  EXPECT_THAT(
      ParseOne("batch_sizes", List(int64_t{1}, int64_t{2}))->batch_sizes,
      ElementsAre(1, 2));
  EXPECT_THAT(ParseOne("betas", List(0.5, 0.25))->betas,
              ElementsAre(0.5, 0.25));
  EXPECT_THAT(ParseOne("plugins", List("a.so", "b.so"))->plugins,
              ElementsAre("a.so", "b.so"));
  EXPECT_EQ(ParseOne("phase", "critical")->phase, Phase::kCritical);
  ConfigTable teacher;
  teacher.Set("name", ConfigValue("mlp"));
  EXPECT_EQ(ParseOne("teacher", teacher)->teacher, teacher);
}

TEST(ParamSchemaTest, EmptyListsAreLists) {
  EXPECT_TRUE(ParseOne("betas", List())->betas.empty());
  EXPECT_TRUE(ParseOne("plugins", List())->plugins.empty());
}

TEST(ParamSchemaTest, UnknownKeyNamesTheNearest) {
  EXPECT_THAT(ParseOne("trim", 0.1),
              IsConfigError("run.toml:3:1: unknown key `trim` (did you mean "
                            "`trim_fraction`?)"));
  EXPECT_THAT(ParseOne("bacth_size", int64_t{1}),
              IsConfigError("(did you mean `batch_size`?)"));
  EXPECT_THAT(ParseOne("Batch-Size", int64_t{1}),
              IsConfigError("(did you mean `batch_size`?)"));
  EXPECT_THAT(ParseOne("zebra", true),
              IsConfigError("run.toml:3:1: unknown key `zebra`; valid keys: "
                            "nesterov, batch_size, "));
}

TEST(ParamSchemaTest, KeyOfAnyLengthMakesAShortMessage) {
  const auto options = ParseOne(std::string(1 << 20, 'x') + "\n", true);
  ASSERT_THAT(options, IsConfigError("unknown key `\"xxx"));
  EXPECT_LT(options.status().message().size(), 500u);
}

TEST(ParamSchemaTest, WrongTypeSaysWhichWasExpected) {
  EXPECT_THAT(ParseOne("batch_size", "x"),
              IsConfigError("run.toml:3:1: batch_size = \"x\": expected "
                            "integer, not string"));
  EXPECT_THAT(ParseOne("batch_size", 3.0),
              IsConfigError("batch_size = 3.0: expected integer, not number"));
  EXPECT_THAT(ParseOne("nesterov", int64_t{1}),
              IsConfigError("expected boolean, not integer"));
  EXPECT_THAT(ParseOne("lr", true),
              IsConfigError("lr = true: expected number, not boolean"));
  EXPECT_THAT(ParseOne("path", List()),
              IsConfigError("path = []: expected string, not list"));
  EXPECT_THAT(ParseOne("batch_sizes", int64_t{1}),
              IsConfigError("expected list of integers, not integer"));
  EXPECT_THAT(ParseOne("batch_sizes", List(int64_t{1}, 2.5)),
              IsConfigError("batch_sizes = [1, 2.5]: expected list of "
                            "integers"));
  EXPECT_THAT(ParseOne("teacher", "mlp"),
              IsConfigError("teacher = \"mlp\": expected table, not string"));
  EXPECT_THAT(ParseOne("phase", int64_t{1}),
              IsConfigError("expected string, not integer"));
}

TEST(ParamSchemaTest, ViolatedBoundIsQuoted) {
  EXPECT_THAT(ParseOne("trim_fraction", 0.5),
              IsConfigError("run.toml:3:1: trim_fraction = 0.5: must be in "
                            "[0, 0.5)"));
  EXPECT_THAT(ParseOne("batch_size", int64_t{0}),
              IsConfigError("batch_size = 0: must be at least 1"));
  EXPECT_THAT(ParseOne("batch_sizes", List(int64_t{1}, int64_t{0})),
              IsConfigError("batch_sizes = [1, 0]: must be at least 1"));
  EXPECT_THAT(ParseOne("betas", List(0.9, 1.0)),
              IsConfigError("must be in (0, 1)"));
  EXPECT_THAT(ParseOne("phase", "crtical"),
              IsConfigError("phase = \"crtical\": must be one of critical, "
                            "calm (did you mean `critical`?)"));
}

TEST(ParamSchemaTest, NumbersThatAreNotFiniteAreRefusedEverywhere) {
  for (const double number : {kNaN, kInfinity, -kInfinity}) {
    EXPECT_THAT(ParseOne("lr", number), IsConfigError("must be finite"));
    EXPECT_THAT(ParseOne("trim_fraction", number), IsConfigError("must be "));
    EXPECT_THAT(ParseOne("betas", List(0.5, number)),
                IsConfigError("must be "));
    for (const Constraint& bound :
         {AtLeast(-1), GreaterThan(-1), InClosed(-1, 1), InOpen(-1, 1)}) {
      EXPECT_FALSE(bound.holds(ConfigValue(number)));
    }
  }
}

TEST(ParamSchemaTest, IntegersBeyondDoublePrecisionAreComparedExactly) {
  constexpr int64_t kPower = int64_t{1} << 53;
  EXPECT_TRUE(AtLeast(0x1p53).holds(ConfigValue(kPower)));
  EXPECT_FALSE(GreaterThan(0x1p53).holds(ConfigValue(kPower)));
  EXPECT_TRUE(GreaterThan(0x1p53).holds(ConfigValue(kPower + 1)));
  EXPECT_FALSE(InClosed(0, 0x1p53).holds(ConfigValue(kPower + 1)));
  const int64_t largest = std::numeric_limits<int64_t>::max();
  EXPECT_EQ(ParseOne("batch_size", largest)->batch_size, largest);
}

TEST(ParamSchemaTest, SamplesOfABoundLieOnTheirSides) {
  for (const Constraint& bound :
       {AtLeast(1), AtLeast(0.5), GreaterThan(0), InClosed(0, 1),
        InHalfOpen(0, 0.5), InHalfOpen(0, 1), InLeftOpen(0, 1), InOpen(0, 1),
        InOpen(0, 10), OneOf({"cpu", "cuda"})}) {
    EXPECT_FALSE(bound.good.empty()) << bound.text;
    EXPECT_FALSE(bound.bad.empty()) << bound.text;
    for (const ConfigValue& value : bound.good) {
      EXPECT_TRUE(bound.holds(value)) << value.ToString() << " " << bound.text;
    }
    for (const ConfigValue& value : bound.bad) {
      EXPECT_FALSE(bound.holds(value)) << value.ToString() << " " << bound.text;
    }
  }
  EXPECT_EQ(InHalfOpen(0, 0.5).text, "in [0, 0.5)");
  EXPECT_EQ(InLeftOpen(0, 1).text, "in (0, 1]");
  EXPECT_EQ(GreaterThan(0).text, "greater than 0");
  EXPECT_EQ(AtLeast(2147483648).text, "at least 2147483648");
}

TEST(ParamSchemaTest, BytesAreReadWithAndWithoutUnits) {
  const auto bytes = [](ConfigValue::Data value) {
    return ParseOne("limit", std::move(value))->limit.value;
  };
  EXPECT_EQ(bytes(int64_t{0}), 0);
  EXPECT_EQ(bytes("4096"), 4096);
  EXPECT_EQ(bytes("8GiB"), 8589934592);
  EXPECT_EQ(bytes("512MiB"), 536870912);
  EXPECT_EQ(bytes("500MB"), 500000000);
  EXPECT_EQ(bytes("3 kB"), 3000);
  for (const char* text : {"", "GiB", "8 G", "-1", "1.5GiB", "8GiB ", "1e3",
                           "9223372036854775808", "9223372036GiB"}) {
    EXPECT_THAT(ParseOne("limit", text),
                IsConfigError("expected a number of bytes"))
        << text;
  }
  EXPECT_THAT(ParseOne("limit", int64_t{-1}),
              IsConfigError("limit = -1: expected a number of bytes"));
}

TEST(ParamSchemaTest, AutoIsACountToo) {
  EXPECT_TRUE(ParseOne("threads", "auto")->threads.is_auto());
  EXPECT_EQ(ParseOne("threads", int64_t{3})->threads.value, 3);
  for (const ConfigValue::Data& value :
       {ConfigValue::Data(int64_t{0}), ConfigValue::Data("automatic"),
        ConfigValue::Data(1.0)}) {
    EXPECT_THAT(ParseOne("threads", value),
                IsConfigError("an integer of at least 1 or \"auto\""));
  }
}

TEST(ParamSchemaTest, BoundsConcernCountsAndBytesButNotAuto) {
  const auto schema =
      ParamSchema<Options>()
          .Add("threads", &Options::threads, "Threads.", InClosed(1, 8))
          .Add("limit", &Options::limit, "Memory.", InClosed(0, 4096));
  const auto parse = [&schema](const std::string& key, ConfigValue value) {
    ConfigTable table;
    table.Set(key, std::move(value));
    return schema.Parse(table).status();
  };
  EXPECT_TRUE(parse("threads", ConfigValue("auto")).ok());
  EXPECT_TRUE(parse("threads", ConfigValue(int64_t{8})).ok());
  EXPECT_TRUE(parse("limit", ConfigValue("4KiB")).ok());
  EXPECT_THAT(parse("threads", ConfigValue(int64_t{9})),
              IsConfigError("threads = 9: must be in [1, 8]"));
  EXPECT_THAT(parse("limit", ConfigValue("5KiB")),
              IsConfigError("limit = \"5KiB\": must be in [0, 4096]"));
}

TEST(ParamSchemaTest, ParseReadsBackWhatPrintWrites) {
  Options options;
  options.batch_size = 1 << 20;
  options.lr = 1e-5;
  options.betas = {};
  options.plugins = {"a \"b\"", "\n"};
  options.threads = AutoInteger{};
  options.limit.value = int64_t{3} << 30;
  options.teacher.Set("width", ConfigValue(int64_t{4}));
  options.phase = Phase::kCritical;
  for (const Options& original : {Options(), options}) {
    const auto parsed = Schema().Parse(Schema().Print(original));
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(*parsed, original);
  }
}

TEST(ParamSchemaTest, DescriptionHasTypesAndDefaultsAsTomlWritesThem) {
  std::vector<std::string> lines;
  for (const ParamInfo& info : Schema().Describe()) {
    lines.push_back(info.name + ": " + info.type + " = " + info.default_value +
                    " " + info.requirement);
  }
  EXPECT_THAT(lines,
              ElementsAre("nesterov: boolean = false ",
                          "batch_size: integer = 64 at least 1",
                          "trim_fraction: number = 0.1 in [0, 0.5)",
                          "lr: number = 1.0 ", R"(path: string = "a\\b" )",
                          "batch_sizes: list of integers = [32, 64] at least 1",
                          "betas: list of numbers = [0.9, 0.999] in (0, 1)",
                          "plugins: list of strings = [] ",
                          "threads: integer or \"auto\" = 1 ",
                          "limit: bytes = 0 ", "teacher: table = {} ",
                          "phase: string = \"calm\" one of critical, calm"));
}

TEST(ParamSchemaTest, CheckOverSeveralKeysNamesTheTable) {
  const auto schema = Schema().Check([](const Options& options) {
    return options.nesterov && options.lr == 0
               ? ConfigError("nesterov needs lr above 0")
               : absl::OkStatus();
  });
  ConfigTable table;
  table.set_origin("run.toml:2:1");
  table.Set("nesterov", ConfigValue(true));
  EXPECT_TRUE(schema.Parse(table).ok());
  table.Set("lr", ConfigValue(0.0));
  EXPECT_THAT(schema.Parse(table),
              IsConfigError("run.toml:2:1: nesterov needs lr above 0"));
}

TEST(ParamSchemaTest, LongValueIsCutInMessages) {
  const auto options = ParseOne("batch_size", std::string(1 << 20, 'x'));
  ASSERT_THAT(options, IsConfigError("xxx...: expected integer"));
  EXPECT_LT(options.status().message().size(), 200u);
}

TEST(NearestNameTest, FindsSlipsAndAbbreviationsButNoStrangers) {
  const std::vector<std::string> names = {"lr", "momentum", "weight_decay"};
  EXPECT_EQ(NearestName("momnetum", names), "momentum");
  EXPECT_EQ(NearestName("weightdecay", names), "weight_decay");
  EXPECT_EQ(NearestName("LR", names), "lr");
  EXPECT_EQ(NearestName("mom", names), "momentum");
  EXPECT_EQ(NearestName("momentum_factor", names), "momentum");
  EXPECT_EQ(NearestName("nesterov", names), "");
  EXPECT_EQ(NearestName("x", names), "");
  EXPECT_EQ(NearestName("", names), "");
  EXPECT_EQ(NearestName("lr", {}), "");
  // A slip is nearer than an abbreviation.
  EXPECT_EQ(NearestName("scale", {"scale_phase", "scales"}), "scales");
}

TEST(ConfigTableTest, AssigningATableAPartOfItselfWorks) {
  ConfigTable table;
  table.Subtable("a").Subtable("b").Set("x", ConfigValue(int64_t{1}));
  table = *table.Find("a")->As<ConfigTable>();
  EXPECT_EQ(*table.Find("b")->As<ConfigTable>()->Find("x"),
            ConfigValue(int64_t{1}));
}

TEST(ConfigTableTest, MovedFromTableIsEmptyAndUsable) {
  ConfigTable table;
  table.Set("x", ConfigValue(true));
  const ConfigTable other = std::move(table);
  EXPECT_EQ(other.values().size(), 1u);
  // NOLINTNEXTLINE(bugprone-use-after-move): that is the point.
  EXPECT_TRUE(table.empty());
  table.Set("y", ConfigValue(true));
  EXPECT_NE(table.Find("y"), nullptr);
}

TEST(ConfigTableTest, OriginsDoNotCountForEquality) {
  ConfigTable a;
  ConfigTable b;
  a.Set("x", ConfigValue(1.5, "a.toml:1:1"));
  b.Set("x", ConfigValue(1.5, "b.toml:9:1"));
  b.set_origin("b.toml");
  EXPECT_EQ(a, b);
  b.Set("x", ConfigValue(int64_t{1}));
  EXPECT_FALSE(a == b);
}

}  // namespace
}  // namespace fedlb
