// Resolving a whole configuration: defaults, hints, contradictions, origins.

#include "fedlb/experiment_config.h"

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "core/config_errors.h"
#include "fedlb/config.h"
#include "fedlb/sync_policy.h"

namespace fedlb {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct NoOptions {};
ParamSchema<NoOptions> NoSchema() { return ParamSchema<NoOptions>(); }

struct OptimizerOptions {
  double lr = 0.1;
  double momentum = 0;
};
ParamSchema<OptimizerOptions> OptimizerSchema() {
  return ParamSchema<OptimizerOptions>()
      .Add("lr", &OptimizerOptions::lr, "Rate.", GreaterThan(0))
      .Add("momentum", &OptimizerOptions::momentum, "Momentum.",
           InHalfOpen(0, 1));
}

struct BatchOptions {
  int64_t batch_size = 64;
};
ParamSchema<BatchOptions> BatchSchema() {
  return ParamSchema<BatchOptions>().Add(
      "batch_size", &BatchOptions::batch_size, "Examples.", AtLeast(1));
}

struct StepOptions {
  double gain = 4;
  ConfigTable teacher;
};
ParamSchema<StepOptions> StepSchema() {
  return ParamSchema<StepOptions>()
      .Add("gain", &StepOptions::gain, "Gain.")
      .Add("teacher", &StepOptions::teacher, "Teacher.");
}

// Gradients before the round `switch_at`, local steps from it on.
class TestPolicy final : public SyncPolicy {
 public:
  explicit TestPolicy(int64_t switch_at) : switch_at_(switch_at) {}

  RoundWork Plan(int64_t round) const override {
    RoundWork work;
    work.kind = round < switch_at_ ? RoundWork::Kind::kGradient
                                   : RoundWork::Kind::kLocalSteps;
    return work;
  }

 private:
  const int64_t switch_at_;
};

template <typename Options>
ComponentEntry Entry(const std::string& kind, const std::string& name,
                     ParamSchema<Options> (*schema)()) {
  ComponentEntry entry;
  entry.kind = kind;
  entry.name = name;
  entry.params = schema().Describe();
  entry.create = [](const ConfigTable&, const ComponentContext&)
      -> absl::StatusOr<std::unique_ptr<Component>> {
    return absl::UnimplementedError("not needed here");
  };
  entry.resolve =
      [schema](const ConfigTable& table) -> absl::StatusOr<ConfigTable> {
    FEDLB_ASSIGN_OR_RETURN(const Options options, schema().Parse(table));
    return schema().Print(options);
  };
  return entry;
}

ComponentEntry PolicyEntry(const std::string& name, int64_t switch_at) {
  ComponentEntry entry = Entry("sync_policy", name, NoSchema);
  entry.create = [switch_at](const ConfigTable&, const ComponentContext&)
      -> absl::StatusOr<std::unique_ptr<Component>> {
    return std::make_unique<TestPolicy>(switch_at);
  };
  return entry;
}

class ExperimentConfigTest : public ::testing::Test {
 protected:
  ExperimentConfigTest() {
    PluginRecord plugin;
    plugin.name = "test";
    const absl::Status status = registry_.Add(
        plugin, {Entry("dataset", "fashion_mnist", NoSchema),
                 Entry("partitioner", "iid", NoSchema),
                 Entry("sampler", "uniform", NoSchema),
                 Entry("client_algorithm", "none", NoSchema),
                 Entry("model", "cnn", NoSchema), PolicyEntry("fedavg", 0),
                 PolicyEntry("bsp", 1 << 30), PolicyEntry("post_local", 5),
                 Entry("batch_policy", "constant", BatchSchema),
                 Entry("optimizer", "sgd", OptimizerSchema),
                 Entry("optimizer", "adam", OptimizerSchema),
                 Entry("lr_schedule", "constant", NoSchema),
                 Entry("gradient_mapper", "identity", NoSchema),
                 Entry("gradient_mapper", "step", StepSchema),
                 Entry("compressor", "none", NoSchema),
                 Entry("aggregator", "mean", NoSchema),
                 Entry("transport", "inprocess", NoSchema)});
    EXPECT_TRUE(status.ok()) << status;
  }

  absl::StatusOr<ExperimentConfig> Resolve(const std::string& toml) {
    FEDLB_ASSIGN_OR_RETURN(const ConfigTable table,
                           ParseToml(toml, "run.toml"));
    return ResolveExperiment(table, registry_);
  }

  // What the section of a resolved configuration holds.
  static std::string Section(const ExperimentConfig& config,
                             const std::string& name) {
    const ConfigValue* value = config.resolved.Find(name);
    return value == nullptr ? "nothing" : value->ToString();
  }

  ComponentRegistry registry_;
};

constexpr char kExample[] = R"(
name = "example"
seed = 3
[dataset]
limit_train = 100
[federation]
clients = 20
cohort_size = 5
[batch_policy]
batch_size = 32
micro_batch_size = 8
[optimizer]
name = "adam"
lr = 0.5
keep_state = true
[gradient_mapper]
name = "step"
scope = "client"
[gradient_mapper.teacher]
name = "linear"
width = 3
[execution]
memory_limit = "8GiB"
intra_op_threads = "auto"
)";

TEST_F(ExperimentConfigTest, DefaultsMakeACompleteExperiment) {
  const auto config = Resolve("");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->run.rounds, 10);
  EXPECT_EQ(config->federation.clients, 10);
  EXPECT_EQ(config->cohort_size(), 10);
  EXPECT_EQ(config->mapper_use.scope, "server");
  EXPECT_EQ(Section(*config, "model"),
            "{ init = \"\", init_skip = [], label_smoothing = 0.0, name = "
            "\"cnn\" }");
  EXPECT_EQ(Section(*config, "optimizer"),
            "{ keep_state = false, lr = 0.1, momentum = 0.0, name = \"sgd\" }");
  EXPECT_EQ(Section(*config, "server_optimizer"),
            "{ lr = 1.0, momentum = 0.0, name = \"sgd\" }");
  for (const SectionInfo& info : Sections()) {
    if (!info.section.empty()) {
      EXPECT_NE(config->resolved.Find(info.section), nullptr) << info.section;
    }
    if (!info.kind.empty()) {
      EXPECT_EQ(config->components.count(info.section), 1u) << info.section;
    }
  }
}

TEST_F(ExperimentConfigTest, KeysOfTheLoopAndOfTheComponentPart) {
  const auto config = Resolve(kExample);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->dataset_use.limit_train, 100);
  EXPECT_EQ(config->batch_use.micro_batch_size, 8);
  EXPECT_TRUE(config->optimizer_use.keep_state);
  EXPECT_EQ(config->mapper_use.scope, "client");
  EXPECT_EQ(config->execution.memory_limit.value, int64_t{8} << 30);
  EXPECT_TRUE(config->execution.intra_op_threads.is_auto());
  EXPECT_EQ(config->cohort_size(), 5);
  EXPECT_EQ(config->components.at("optimizer"),
            *ParseToml("name = 'adam'\nlr = 0.5\nmomentum = 0.0", ""));
  EXPECT_EQ(config->components.at("gradient_mapper"),
            *ParseToml("name = 'step'\ngain = 4.0\n"
                       "teacher = { name = 'linear', width = 3 }",
                       ""));
}

TEST_F(ExperimentConfigTest, EveryResolvedValueHasAnOrigin) {
  const auto config = Resolve(kExample);
  ASSERT_TRUE(config.ok()) << config.status();
  const auto origin = [&](const std::string& section, const std::string& key) {
    return config->resolved.Find(section)
        ->As<ConfigTable>()
        ->Find(key)
        ->origin();
  };
  EXPECT_EQ(config->resolved.Find("seed")->origin(), "run.toml:3:1");
  EXPECT_EQ(config->resolved.Find("rounds")->origin(), "default");
  EXPECT_EQ(origin("optimizer", "lr"), "run.toml:14:1");
  EXPECT_EQ(origin("optimizer", "keep_state"), "run.toml:15:1");
  EXPECT_EQ(origin("optimizer", "momentum"), "default");
  EXPECT_EQ(origin("model", "name"), "default");
  EXPECT_EQ(origin("server_optimizer", "lr"), "default");
  EXPECT_EQ(origin("federation", "clients"), "run.toml:7:1");
}

TEST_F(ExperimentConfigTest, ResolvedConfigurationResolvesToItself) {
  for (const std::string& text : {std::string(), std::string(kExample),
                                  std::string("[sync_policy]\nname = 'bsp'")}) {
    const auto config = Resolve(text);
    ASSERT_TRUE(config.ok()) << config.status();
    const auto again = ResolveExperiment(config->resolved, registry_);
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(PrintConfig(*again, false), PrintConfig(*config, false));
    EXPECT_TRUE(again->resolved == config->resolved);
    const auto printed = Resolve(PrintConfig(*config, true));
    ASSERT_TRUE(printed.ok()) << printed.status();
    EXPECT_TRUE(printed->resolved == config->resolved);
  }
}

TEST_F(ExperimentConfigTest, SectionsArePrintedInTheirOrder) {
  const auto config = Resolve(kExample);
  ASSERT_TRUE(config.ok()) << config.status();
  const std::string text = PrintConfig(*config, false);
  EXPECT_EQ(text.rfind("name = \"example\"\nseed = 3\nrounds = 10\n"
                       "device = \"cpu\"\nprecision = \"fp32\"\nplugins = []\n",
                       0),
            0u)
      << text;
  size_t last = 0;
  for (const SectionInfo& info : Sections()) {
    if (!info.section.empty()) {
      const size_t at = text.find(absl::StrCat("\n[", info.section, "]\n"));
      ASSERT_NE(at, std::string::npos) << info.section;
      EXPECT_GT(at, last) << info.section;
      last = at;
    }
  }
}

TEST_F(ExperimentConfigTest, UnknownSectionsAndKeysNameTheNearest) {
  EXPECT_THAT(Resolve("\n[optimiser]\nlr = 1"),
              IsConfigError("run.toml:2:1: unknown section [optimiser] (did "
                            "you mean `optimizer`?)"));
  EXPECT_THAT(Resolve("sede = 1"),
              IsConfigError("run.toml:1:1: unknown key `sede` (did you mean "
                            "`seed`?)"));
  EXPECT_THAT(Resolve("[batch_policy]\nmicro_batch = 1"),
              IsConfigError("run.toml:2:1: unknown key `micro_batch` (did you "
                            "mean `micro_batch_size`?)"));
  EXPECT_THAT(Resolve("[batch_policy]\nbacth_size = 1"),
              IsConfigError("(did you mean `batch_size`?)"));
  EXPECT_THAT(Resolve("[federation]\nclient = 1"),
              IsConfigError("(did you mean `clients`?)"));
  EXPECT_THAT(Resolve("[model]\nwidth = 1"),
              IsConfigError("unknown key `width`; valid keys: name"));
}

TEST_F(ExperimentConfigTest, KeysInTheWrongPlaceAreTold) {
  EXPECT_THAT(Resolve("[federation]\nrounds = 3"),
              IsConfigError("run.toml:2:1: `rounds` belongs before the first "
                            "section"));
  EXPECT_THAT(Resolve("[model]\nseed = 3"),
              IsConfigError("`seed` belongs before the first section"));
  EXPECT_THAT(Resolve("optimizer = 'sgd'"),
              IsConfigError("run.toml:1:1: `optimizer` is a section, not a "
                            "key: write [optimizer]"));
  EXPECT_THAT(Resolve("[seed]\nx = 1"),
              IsConfigError("seed = { x = 1 }: expected integer, not table"));
}

TEST_F(ExperimentConfigTest, UnknownComponentNamesTheNearest) {
  EXPECT_THAT(Resolve("[aggregator]\nname = 'maen'"),
              IsConfigError("run.toml:2:1: no aggregator named \"maen\"; have: "
                            "mean (did you mean `mean`?)"));
  EXPECT_THAT(Resolve("[model]\nname = 3"),
              IsConfigError("run.toml:2:1: name = 3: expected string"));
}

TEST_F(ExperimentConfigTest, ValuesOutOfRangeAreRefused) {
  for (const char* text :
       {"rounds = 0", "seed = -1", "device = 'gpu'", "precision = 'fp16'",
        "rounds = nan", "[federation]\nclients = 0",
        "[federation]\ncohort_fraction = 0.0",
        "[federation]\ncohort_fraction = nan", "[federation]\nmin_cohort = 0",
        "[execution]\nbuffers = 'none'", "[execution]\nintra_op_threads = 0",
        "[evaluation]\nbatch_size = 0", "[checkpoint]\nkeep = 0",
        "[dataset]\nvalidation_fraction = 1.0", "[dataset]\nlimit_test = -1",
        "[batch_policy]\nmicro_batch_size = -1",
        "[gradient_mapper]\nscope = 'both'"}) {
    EXPECT_THAT(Resolve(text), IsConfigError("run.toml:")) << text;
  }
}

TEST_F(ExperimentConfigTest, CohortFollowsFromItsFraction) {
  const auto cohort = [this](const std::string& federation) {
    const auto config = Resolve("[federation]\n" + federation);
    EXPECT_TRUE(config.ok()) << config.status();
    return config->cohort_size();
  };
  EXPECT_EQ(cohort("clients = 100\ncohort_fraction = 0.29"), 29);
  EXPECT_EQ(cohort("clients = 10\ncohort_fraction = 0.01"), 1);
  EXPECT_EQ(cohort("clients = 7"), 7);
  EXPECT_EQ(cohort("clients = 7\ncohort_size = 3"), 3);
}

TEST_F(ExperimentConfigTest, ContradictingCohortsAreRefused) {
  EXPECT_THAT(Resolve("[federation]\nclients = 4\ncohort_size = 5"),
              IsConfigError("run.toml:3:1: cohort_size = 5: more than the "
                            "clients there are (run.toml:2:1: clients = 4)"));
  EXPECT_THAT(Resolve("[federation]\ncohort_size = 3\nmin_cohort = 4"),
              IsConfigError("run.toml:3:1: min_cohort = 4: more than the 3 "
                            "clients"));
  EXPECT_THAT(Resolve("[federation]\ncohort_size = 3\ncohort_fraction = 0.5"),
              IsConfigError("run.toml:1:1: cohort_size and cohort_fraction "
                            "both"));
}

TEST_F(ExperimentConfigTest, ServerOptimizerHasNoPlaceUnderBsp) {
  const std::string bsp = "[sync_policy]\nname = 'bsp'\n";
  const auto config = Resolve(bsp);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(Section(*config, "server_optimizer"), "nothing");
  EXPECT_EQ(config->components.count("server_optimizer"), 0u);
  EXPECT_THAT(Resolve(bsp + "[server_optimizer]\nlr = 1.0"),
              IsConfigError("run.toml:3:1: [server_optimizer] has no use with "
                            "sync_policy \"bsp\""));
}

TEST_F(ExperimentConfigTest, ServerOptimizerServesAPolicyThatSwitches) {
  const std::string text =
      "[sync_policy]\nname = 'post_local'\n[server_optimizer]\nlr = 0.5\n";
  const auto config = Resolve("rounds = 6\n" + text);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(Section(*config, "server_optimizer"),
            "{ lr = 0.5, momentum = 0.0, name = \"sgd\" }");
  // It never gets to the switch.
  EXPECT_THAT(Resolve("rounds = 5\n" + text),
              IsConfigError("[server_optimizer] has no use"));
}

TEST_F(ExperimentConfigTest, OtherServerOptimizersKeepTheirOwnRate) {
  const auto config = Resolve("[server_optimizer]\nname = 'adam'");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(Section(*config, "server_optimizer"),
            "{ lr = 0.1, momentum = 0.0, name = \"adam\" }");
}

TEST_F(ExperimentConfigTest, MutatedConfigurationsNeverCrash) {
  std::mt19937 random(20261123);
  const auto below = [&random](size_t end) { return random() % end; };
  const std::string original = kExample;
  int refused = 0;
  for (int i = 0; i < 2000; ++i) {
    std::string text = original;
    for (size_t edits = 1 + below(4); edits > 0; --edits) {
      const size_t at = below(text.size());
      const size_t length = below(std::min<size_t>(30, text.size() - at) + 1);
      switch (below(5)) {
        case 0:
          text[at] = static_cast<char>(below(256));
          break;
        case 1:
          text.erase(at, length);
          break;
        case 2:
          text.insert(at, text.substr(below(text.size()), length));
          break;
        case 3: {
          constexpr char kPunctuation[] = "[]{}.,='\"\\#\n\r\t-+e0";
          text.insert(at, 1, kPunctuation[below(sizeof(kPunctuation))]);
          break;
        }
        default:
          text[at] = static_cast<char>(text[at] ^ (1 << below(8)));
      }
      if (text.empty()) {
        text = original;
      }
    }
    const auto config = Resolve(text);
    if (!config.ok()) {
      ++refused;
      EXPECT_THAT(config, IsConfigError("run.toml")) << text;
    }
  }
  // The mutations bite, and not all of them are fatal.
  EXPECT_GT(refused, 1000);
  EXPECT_LT(refused, 2000);
}

TEST(SectionsTest, EveryKeyIsDescribed) {
  for (const SectionInfo& info : Sections()) {
    for (const ParamInfo& param : info.params) {
      EXPECT_THAT(param.description, HasSubstr("."))
          << info.section << "." << param.name;
    }
  }
}

}  // namespace
}  // namespace fedlb
