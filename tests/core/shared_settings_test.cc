// What of a configuration travels from a server to its clients, and what of the
// clients' own holds.

#include "shared_settings.h"

#include "core/training_testing.h"
#include "fedlb/config.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedlb {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const Settings kServer = {
    "name=\"server\"",
    "seed=7",
    "dataset.name=idx",
    "dataset.root=\"/data/of/the/server\"",
    "dataset.limit_train=100",
    "model.init=\"/weights/of/the/server\"",
    "optimizer.lr=0.25",
    "execution.memory_limit=\"1GiB\"",
    "execution.intra_op_threads=2",
    "transport.name=thrift",
    "transport.listen=\"127.0.0.1:1\"",
    "sync_policy.name=bsp",
    "gradient_mapper.name=teacher",
    "gradient_mapper.file=\"/teacher/of/the/server\"",
    "gradient_mapper.small_batch_size=16"};

ConfigTable Shared() {
  return SharedSettings(Configure(kServer).resolved, BuiltPlugins());
}

const ConfigValue* Find(const ConfigTable& table, const std::string& section,
                        const std::string& key) {
  const ConfigValue* value = table.Find(section);
  return value == nullptr ? nullptr : value->As<ConfigTable>()->Find(key);
}

TEST(SharedSettingsTest, LeaveOutWhatBelongsToTheMachine) {
  const ConfigTable shared = Shared();
  EXPECT_EQ(*Find(shared, "optimizer", "lr"), ConfigValue(0.25));
  EXPECT_EQ(*Find(shared, "dataset", "limit_train"), ConfigValue(int64_t{100}));
  EXPECT_EQ(*Find(shared, "execution", "intra_op_threads"),
            ConfigValue(int64_t{2}));
  EXPECT_EQ(*Find(shared, "gradient_mapper", "small_batch_size"),
            ConfigValue(int64_t{16}));
  EXPECT_EQ(*shared.Find("seed"), ConfigValue(int64_t{7}));
  EXPECT_EQ(shared.Find("name"), nullptr);
  EXPECT_EQ(shared.Find("plugins"), nullptr);
  EXPECT_EQ(shared.Find("device"), nullptr);
  for (const char* section :
       {"transport", "evaluation", "checkpoint", "stopping", "simulation"}) {
    EXPECT_EQ(shared.Find(section), nullptr) << section;
  }
  EXPECT_EQ(Find(shared, "dataset", "root"), nullptr);
  EXPECT_EQ(Find(shared, "model", "init"), nullptr);
  EXPECT_EQ(Find(shared, "execution", "memory_limit"), nullptr);
  EXPECT_EQ(Find(shared, "gradient_mapper", "file"), nullptr);
}

TEST(SharedSettingsTest, AClientKeepsItsPathsAndTakesTheRest) {
  const CombinedSettings combined = CombineSettings(
      Shared(),
      Configure({"dataset.name=idx", "dataset.root=\"/mine\"",
                 "execution.memory_limit=\"2GiB\"", "optimizer.lr=0.5",
                 "optimizer.momentum=0", "execution.intra_op_threads=\"auto\"",
                 "transport.name=thrift", "transport.role=client",
                 "transport.client_ids=[0]"})
          .resolved,
      BuiltPlugins());
  const ConfigTable& settings = combined.settings;
  EXPECT_EQ(*Find(settings, "dataset", "root"), ConfigValue("/mine"));
  EXPECT_EQ(*Find(settings, "dataset", "limit_train"),
            ConfigValue(int64_t{100}));
  EXPECT_EQ(*Find(settings, "execution", "memory_limit"),
            ConfigValue(int64_t{2} << 30));
  EXPECT_EQ(*Find(settings, "transport", "role"), ConfigValue("client"));
  EXPECT_EQ(*Find(settings, "optimizer", "lr"), ConfigValue(0.25));
  EXPECT_FALSE(combined.own_dataset);
  EXPECT_THAT(combined.overruled, ElementsAre("optimizer.lr"));
}

// A server is not to read a client's files, whatever it sends.
TEST(SharedSettingsTest, AServerSetsNoPath) {
  ConfigTable hostile = Shared();
  hostile.Subtable("dataset").Set("root", ConfigValue("/home/of/the/client"));
  hostile.Subtable("model").Set("init", ConfigValue("/etc/secret"));
  hostile.Subtable("model").Set("trust_file", ConfigValue(true));
  hostile.Subtable("gradient_mapper").Set("record", ConfigValue("/home"));
  hostile.Set("plugins", ConfigValue(ConfigValue::Array{ConfigValue("/e.so")}));
  hostile.Subtable("transport").Set("insecure", ConfigValue(true));
  const CombinedSettings combined =
      CombineSettings(hostile,
                      Configure({"transport.name=thrift",
                                 "transport.role=client",
                                 "transport.client_ids=[0]"})
                          .resolved,
                      BuiltPlugins());
  const ConfigTable& settings = combined.settings;
  EXPECT_EQ(Find(settings, "dataset", "root"), nullptr);
  EXPECT_EQ(Find(settings, "model", "init"), nullptr);
  EXPECT_EQ(Find(settings, "gradient_mapper", "record"), nullptr);
  EXPECT_EQ(*settings.Find("plugins"), ConfigValue(ConfigValue::Array{}));
  EXPECT_EQ(*Find(settings, "transport", "insecure"), ConfigValue(false));
  EXPECT_THAT(combined.overruled, IsEmpty());
}

TEST(SharedSettingsTest, AClientMayHaveADatasetOfItsOwn) {
  const CombinedSettings combined = CombineSettings(
      Shared(),
      Configure({"dataset.name=synthetic", "dataset.train_size=50",
                 "transport.name=thrift", "transport.role=client",
                 "transport.client_ids=[0]"})
          .resolved,
      BuiltPlugins());
  EXPECT_TRUE(combined.own_dataset);
  EXPECT_EQ(*Find(combined.settings, "dataset", "train_size"),
            ConfigValue(int64_t{50}));
  EXPECT_THAT(combined.overruled, IsEmpty());
}

}  // namespace
}  // namespace fedlb
