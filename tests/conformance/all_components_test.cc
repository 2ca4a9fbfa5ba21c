// Every component of every plugin that was built, held against the promises of
// its kind.

#include <map>
#include <ostream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "fedlb/plugin_loader.h"
#include "fedlb/registry.h"
#include "fedlb/testing/expect_conforms.h"

namespace fedlb {

// How a failing test names its parameter.
void PrintTo(const ComponentEntry* entry, std::ostream* out) {
  *out << entry->kind << " " << entry->name;
}

namespace {

const ComponentRegistry& BuiltPlugins() {
  static const auto* const registry = [] {
    auto* loaded = new ComponentRegistry();
    PluginSearch search;
    search.use_defaults = false;
    search.directories = {FEDLB_TEST_PLUGIN_DIR};
    const absl::Status status = LoadPlugins(search, *loaded);
    EXPECT_EQ(status, absl::OkStatus());
    return loaded;
  }();
  return *registry;
}

// What a component needs in order to be made, or may do differently, by kind
// and name.
std::map<std::string, conformance::Deviations> Exceptions() {
  std::map<std::string, conformance::Deviations> exceptions;
  // Linear models begin at zero, where the loss is the same for every label.
  exceptions["model logistic"].seed_changes_weights = false;
  return exceptions;
}

class AllComponentsTest
    : public ::testing::TestWithParam<const ComponentEntry*> {};

TEST_P(AllComponentsTest, Conforms) {
  const ComponentEntry& entry = *GetParam();
  const auto exceptions = Exceptions();
  const auto found = exceptions.find(absl::StrCat(entry.kind, " ", entry.name));
  conformance::ExpectConforms(
      entry, BuiltPlugins(),
      found != exceptions.end() ? found->second : conformance::Deviations());
}

INSTANTIATE_TEST_SUITE_P(, AllComponentsTest,
                         ::testing::ValuesIn(BuiltPlugins().entries()),
                         [](const auto& info) {
                           return absl::StrCat(info.param->kind, "_",
                                               info.param->name);
                         });

TEST(BuiltPluginsTest, EveryKindOfARoundIsThere) {
  for (const char* kind :
       {"aggregator", "batch_policy", "client_algorithm", "compressor",
        "dataset", "gradient_mapper", "lr_schedule", "model", "optimizer",
        "partitioner", "sampler", "sync_policy", "transport"}) {
    EXPECT_FALSE(BuiltPlugins().Names(kind).empty()) << kind;
  }
}

}  // namespace
}  // namespace fedlb
