// Every component of every plugin that was built, held against the promises of
// its kind.

#include <filesystem>
#include <ostream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "fedlb/config.h"
#include "fedlb/plugin_loader.h"
#include "fedlb/registry.h"
#include "fedlb/testing/expect_conforms.h"

namespace fedlb {
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

constexpr char kFashionMnist[] = "/usr/share/datasets/fashion-mnist";

// A component with its defaults, or with options under which it does more.
struct Case {
  const ComponentEntry* entry;
  std::string variant;
  conformance::Deviations deviations;

  std::string Name() const {
    return absl::StrCat(entry->kind, "_", entry->name,
                        variant.empty() ? "" : "_", variant);
  }
};

void PrintTo(const Case& tested, std::ostream* out) { *out << tested.Name(); }

struct Variant {
  const char* kind;
  const char* name;
  const char* variant;
  const char* options;  // TOML
};

constexpr Variant kVariants[] = {
    {"aggregator", "fednova", "proximal",
     "momentum = 0.9\nmu = 0.1\neffective_steps = 'steps'"},
    {"aggregator", "mean", "uniform", "weighting = 'uniform'"},
    {"aggregator", "norm_clipping", "wide", "max_norm = 1e9"},
    {"client_algorithm", "scaffold", "momentum", "momentum = 0.9"},
    {"gradient_mapper", "step", "clipped",
     "scale_phase = 'always'\nclip_norm = 0.5"},
    {"gradient_mapper", "teacher", "adam",
     "teacher = { coordinates = 'adam', basis = 'layer' }"},
    {"gradient_mapper", "teacher", "refit", "refit = 'every'"},
    {"optimizer", "adam", "decaying", "weight_decay = 0.01\nclip_norm = 1.0"},
    {"optimizer", "sgd", "nesterov",
     "momentum = 0.9\nnesterov = true\nweight_decay = 0.01"},
    {"partitioner", "quantity", "extreme", "sigma = 20\nmin_examples = 5"},
    {"partitioner", "shards", "five", "shards_per_client = 5"},
    {"sync_policy", "post_local", "early", "switch_at = 2"},
    {"teacher", "subspace_autoencoder", "adam", "coordinates = 'adam'"},
    {"teacher", "subspace_autoencoder", "layers",
     "basis = 'layer'\nrank = 6\nbasis_precision = 'bf16'\nupdate_every = 2"},
    {"transport", "inprocess", "three_workers", "workers = 3"},
    {"transport", "inprocess", "wire", "workers = 2\nwire = true"},
};

// Models that take minutes with their defaults, and what makes them seconds.
struct LargeModel {
  const char* name;
  const char* options;  // TOML
};

constexpr LargeModel kLargeModels[] = {
    {"resnet18", "width = 8"},         {"resnet34", "width = 8"},
    {"resnet50", "width = 8"},         {"resnet101", "width = 8"},
    {"vit_b_16", "stem = 'imagenet'"},
};

// What robust rules cannot promise.
void AllowAggregator(const ComponentEntry& entry,
                     conformance::Deviations& deviations) {
  if (entry.name == "krum") {
    deviations.min_clients = 5;  // 2 f + 3
  } else if (entry.name == "bulyan") {
    deviations.min_clients = 7;  // 4 f + 3
  } else if (entry.name == "fltrust") {
    deviations.min_clients = 2;  // the trusted one and another
  } else if (entry.name == "norm_clipping" || entry.name == "dp_mean" ||
             entry.name == "centered_clipping") {
    deviations.fixed_point = false;  // longer updates are shortened
  }
}

std::vector<Case> Cases() {
  const ComponentRegistry& registry = BuiltPlugins();
  std::vector<Case> cases;
  for (const ComponentEntry* entry : registry.entries()) {
    cases.push_back({entry, "", {}});
    if (entry->kind == "aggregator") {
      AllowAggregator(*entry, cases.back().deviations);
    }
    for (const LargeModel& model : kLargeModels) {
      if (entry->kind == "model" && entry->name == model.name) {
        cases.back().deviations.options =
            ParseToml(model.options, "large model").value();
      }
    }
    if (entry->kind == "dataset" &&
        (entry->name == "mnist" || entry->name == "idx") &&
        std::filesystem::exists(kFashionMnist)) {
      cases.back().deviations.options.Set(
          "root", ConfigValue(std::string(kFashionMnist)));
    }
  }
  for (const Variant& variant : kVariants) {
    const auto entry = registry.Find(variant.kind, variant.name);
    const auto options = ParseToml(variant.options, "variant");
    EXPECT_EQ(entry.status(), absl::OkStatus());
    EXPECT_EQ(options.status(), absl::OkStatus());
    if (entry.ok() && options.ok()) {
      cases.push_back({*entry, variant.variant, {.options = *options}});
    }
  }
  return cases;
}

class AllComponentsTest : public ::testing::TestWithParam<Case> {};

TEST_P(AllComponentsTest, Conforms) {
  conformance::ExpectConforms(*GetParam().entry, BuiltPlugins(),
                              GetParam().deviations);
}

INSTANTIATE_TEST_SUITE_P(, AllComponentsTest, ::testing::ValuesIn(Cases()),
                         [](const auto& info) { return info.param.Name(); });

TEST(BuiltPluginsTest, EveryKindOfARoundIsThere) {
  for (const char* kind :
       {"aggregator", "batch_policy", "client_algorithm", "compressor",
        "dataset", "gradient_mapper", "lr_schedule", "model", "optimizer",
        "partitioner", "sampler", "sync_policy", "teacher", "transport"}) {
    EXPECT_FALSE(BuiltPlugins().Names(kind).empty()) << kind;
  }
}

}  // namespace
}  // namespace fedlb
