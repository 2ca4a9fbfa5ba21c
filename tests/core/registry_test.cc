// The registry: all-or-nothing additions, look-up by name, creation.

#include "fedlb/registry.h"

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/config_errors.h"
#include "fedlb/plugin.h"

namespace fedlb {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A kind of component that exists here only.
class Rule : public Component {
 public:
  static constexpr char kKind[] = "rule";
  virtual int64_t Value() const = 0;
};

struct ConstantOptions {
  int64_t value = 3;
  ConfigTable teacher;
};

class Constant final : public Rule {
 public:
  using Options = ConstantOptions;
  static constexpr char kName[] = "constant";
  static constexpr char kSummary[] = "Always the same.";

  static ParamSchema<Options> Schema() {
    return ParamSchema<Options>()
        .Add("value", &Options::value, "The value.", AtLeast(0))
        .Add("teacher", &Options::teacher, "A table.");
  }
  static absl::StatusOr<std::unique_ptr<Constant>> Create(
      const Options& options, const ComponentContext&) {
    if (options.value == 13) {
      throw std::runtime_error("thirteen");
    }
    if (options.value == 14) {
      return std::unique_ptr<Constant>();
    }
    return std::unique_ptr<Constant>(new Constant(options));
  }

  int64_t Value() const override { return options_.value; }

 private:
  explicit Constant(const Options& options) : options_(options) {}
  const Options options_;
};

ComponentEntry Entry(const std::string& kind, const std::string& name) {
  ComponentEntry entry;
  entry.kind = kind;
  entry.name = name;
  return entry;
}

PluginRecord Plugin(const std::string& name) {
  PluginRecord record;
  record.name = name;
  return record;
}

class RegistryTest : public ::testing::Test {
 protected:
  RegistryTest() {
    PluginRegistrar registrar;
    registrar.Add<Constant>();
    ExpectOk(registry_.Add(Plugin("base"), std::move(registrar.entries())));
    ExpectOk(registry_.Add(Plugin("more"),
                           {Entry("rule", "median"), Entry("rule", "mean"),
                            Entry("aggregator", "mean")}));
  }

  static void ExpectOk(const absl::Status& status) {
    EXPECT_TRUE(status.ok()) << status;
  }

  ComponentRegistry registry_;
};

ConfigTable TableNaming(const std::string& name) {
  ConfigTable table;
  table.set_origin("run.toml:4:1");
  table.Set("name", ConfigValue(name, "run.toml:5:1"));
  return table;
}

TEST_F(RegistryTest, NamesOfAKindAreSorted) {
  EXPECT_THAT(registry_.Names("rule"),
              ElementsAre("constant", "mean", "median"));
  EXPECT_THAT(registry_.Names("aggregator"), ElementsAre("mean"));
  EXPECT_THAT(registry_.Names("nothing"), ElementsAre());
  EXPECT_EQ(registry_.entries().size(), 4u);
  EXPECT_EQ((*registry_.Find("rule", "constant"))->plugin, "base");
  EXPECT_EQ((*registry_.Find("rule", "constant"))->summary, "Always the same.");
}

TEST_F(RegistryTest, NameTakenByAnotherPluginRefusesTheWholePlugin) {
  const absl::Status status = registry_.Add(
      Plugin("late"), {Entry("rule", "fresh"), Entry("rule", "median")});
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(FailureOf(status), Failure::kPluginRefused);
  EXPECT_THAT(std::string(status.message()),
              "plugin `late` offers rule `median`, which plugin `more` offers "
              "already");
  EXPECT_THAT(registry_.Names("rule"),
              ElementsAre("constant", "mean", "median"));
  EXPECT_EQ(registry_.plugins().size(), 2u);
}

TEST_F(RegistryTest, NameOfferedTwiceRefusesThePlugin) {
  const absl::Status status = registry_.Add(
      Plugin("late"), {Entry("rule", "fresh"), Entry("rule", "fresh")});
  EXPECT_EQ(FailureOf(status), Failure::kPluginRefused);
  EXPECT_THAT(std::string(status.message()),
              "plugin `late` offers rule `fresh` twice");
  EXPECT_FALSE(registry_.Find("rule", "fresh").ok());
}

TEST_F(RegistryTest, UnknownNameSaysWhatExists) {
  EXPECT_THAT(registry_.Find("rule", "maen"),
              IsConfigError("no rule named \"maen\"; have: constant, mean, "
                            "median (did you mean `mean`?)"));
  EXPECT_EQ(registry_.Find("rule", "maen").status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_THAT(registry_.Find("transport", "x"),
              IsConfigError("no transport named \"x\"; no loaded plugin offers "
                            "any"));
}

TEST_F(RegistryTest, CreatesWhatTheTableNames) {
  ConfigTable table = TableNaming("constant");
  table.Set("value", ConfigValue(int64_t{8}));
  const auto rule = registry_.Create<Rule>(table, ComponentContext());
  ASSERT_TRUE(rule.ok()) << rule.status();
  EXPECT_EQ((*rule)->Value(), 8);
}

TEST_F(RegistryTest, ErrorsOfATableSayWhere) {
  const ComponentContext context;
  EXPECT_THAT(registry_.Create<Rule>(TableNaming("constnat"), context),
              IsConfigError("run.toml:5:1: no rule named \"constnat\""));
  ConfigTable table = TableNaming("constant");
  table.Set("value", ConfigValue(int64_t{-1}, "--set rule.value"));
  EXPECT_THAT(
      registry_.Create<Rule>(table, context),
      IsConfigError("--set rule.value: value = -1: must be at least 0"));
  table.Erase("name");
  EXPECT_THAT(registry_.Create<Rule>(table, context),
              IsConfigError("run.toml:4:1: the key `name` must say which "
                            "rule; have: constant, mean, median"));
  table.Set("name", ConfigValue(int64_t{3}, "run.toml:5:1"));
  EXPECT_THAT(registry_.Create<Rule>(table, context),
              IsConfigError("run.toml:5:1: name = 3: expected string, not "
                            "integer"));
}

TEST_F(RegistryTest, ComponentThatThrowsOrMakesNothingIsAnError) {
  ConfigTable table = TableNaming("constant");
  table.Set("value", ConfigValue(int64_t{13}));
  const auto thrown = registry_.Create<Rule>(table, ComponentContext());
  EXPECT_EQ(thrown.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(thrown.status().message()), HasSubstr("thirteen"));
  table.Set("value", ConfigValue(int64_t{14}));
  const auto nothing = registry_.Create<Rule>(table, ComponentContext());
  EXPECT_EQ(nothing.status().code(), absl::StatusCode::kInternal);
}

TEST_F(RegistryTest, ResolvedTableIsCompleteAndKeepsOrigins) {
  ConfigTable table = TableNaming("constant");
  ConfigTable teacher;
  teacher.Set("width", ConfigValue(int64_t{2}, "run.toml:8:1"));
  table.Set("teacher", ConfigValue(teacher, "run.toml:7:1"));
  const auto resolved = registry_.Resolve("rule", table);
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  EXPECT_EQ(resolved->origin(), "run.toml:4:1");
  EXPECT_EQ(resolved->Find("name")->origin(), "run.toml:5:1");
  EXPECT_EQ(*resolved->Find("value"), ConfigValue(int64_t{3}));
  EXPECT_EQ(resolved->Find("value")->origin(), "default");
  EXPECT_EQ(resolved->Find("teacher")->origin(), "run.toml:7:1");
  EXPECT_EQ(
      resolved->Find("teacher")->As<ConfigTable>()->Find("width")->origin(),
      "run.toml:8:1");
  EXPECT_EQ(*registry_.Resolve("rule", *resolved), *resolved);
}

}  // namespace
}  // namespace fedlb
