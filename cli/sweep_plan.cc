#include "sweep_plan.h"

#include <cctype>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "fedlb/config.h"
#include "fedlb/durable_file.h"
#include "fedlb/experiment_config.h"
#include "fedlb/registry.h"
#include "fedlb/status.h"
#include "plugin_set.h"

namespace fedlb::cli {
namespace {

std::string Slug(const std::string& name) {
  std::string slug;
  for (const char c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
      slug += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    } else if (!slug.empty() && slug.back() != '-') {
      slug += '-';
    }
  }
  return slug.substr(0, 40);
}

absl::StatusOr<PlannedRun> PlanRun(const Sweep& sweep,
                                   const SweepMethod& method,
                                   const SweepSetting& setting, int64_t seed,
                                   const CommonFlags& common,
                                   ComponentRegistry& registry) {
  ConfigLayers layers;
  layers.files = sweep.configs;
  layers.sets = {absl::StrCat("name=", ConfigValue(method.name).ToString())};
  layers.sets.insert(layers.sets.end(), setting.sets.begin(),
                     setting.sets.end());
  layers.sets.push_back(absl::StrCat("seed=", seed));
  FEDLB_ASSIGN_OR_RETURN(ConfigTable table, LoadConfig(layers));
  if (registry.entries().empty()) {
    FEDLB_RETURN_IF_ERROR(LoadPluginsFor(common, table, registry));
  }
  FEDLB_ASSIGN_OR_RETURN(const ExperimentConfig config,
                         ResolveExperiment(table, registry));
  PlannedRun run;
  run.config_text = PrintConfig(config, /*with_origins=*/false);
  run.id = absl::StrCat(Slug(method.name), "-s", seed, "-",
                        Sha256Hex(run.config_text).substr(0, 12));
  const ConfigValue* transport = config.components.at("transport").Find("name");
  run.has_validation = config.dataset_use.validation_fraction > 0;
  run.in_process = transport != nullptr &&
                   *transport == ConfigValue(std::string("inprocess"));
  return run;
}

}  // namespace

absl::StatusOr<Sweep> SweepOf(const SweepFlags& flags) {
  Sweep sweep;
  if (!flags.study.empty()) {
    FEDLB_ASSIGN_OR_RETURN(sweep, ReadSweepFile(flags.study));
  } else {
    sweep.methods = {{"sweep", {}}};
    sweep.seeds = {1};
  }
  sweep.configs.insert(sweep.configs.end(), flags.config.configs.begin(),
                       flags.config.configs.end());
  for (SweepMethod& method : sweep.methods) {
    method.sets.insert(method.sets.end(), flags.config.sets.begin(),
                       flags.config.sets.end());
  }
  if (!flags.seeds.empty()) {
    FEDLB_ASSIGN_OR_RETURN(sweep.seeds, ParseSeeds(flags.seeds));
  }
  if (!flags.tuning_seeds.empty()) {
    FEDLB_ASSIGN_OR_RETURN(sweep.tuning_seeds, ParseSeeds(flags.tuning_seeds));
  }
  if (sweep.tuning_seeds.empty()) {
    sweep.tuning_seeds = sweep.seeds;
  }
  return sweep;
}

absl::StatusOr<std::vector<PlannedMethod>> PlanRuns(const Sweep& sweep,
                                                    const CommonFlags& common) {
  std::set<int64_t> seeds(sweep.seeds.begin(), sweep.seeds.end());
  seeds.insert(sweep.tuning_seeds.begin(), sweep.tuning_seeds.end());
  std::vector<PlannedMethod> methods;
  for (const SweepMethod& method : sweep.methods) {
    PlannedMethod planned{method.name, {}};
    FEDLB_ASSIGN_OR_RETURN(const std::vector<SweepSetting> settings,
                           ExpandSettings(method.sets));
    ComponentRegistry registry;
    for (const SweepSetting& setting : settings) {
      PlannedSetting runs{setting.label, {}};
      for (const int64_t seed : seeds) {
        absl::StatusOr<PlannedRun> run =
            PlanRun(sweep, method, setting, seed, common, registry);
        if (!run.ok()) {
          return Annotate(
              run.status(),
              setting.label.empty()
                  ? absl::StrCat("method ", method.name)
                  : absl::StrCat("method ", method.name, ", ", setting.label));
        }
        if (settings.size() > 1 && !run->has_validation) {
          return ConfigError(absl::StrCat(
              "method ", method.name,
              ": settings are chosen on examples that are neither trained on "
              "nor tested with; set dataset.validation_fraction"));
        }
        runs.runs[seed] = *std::move(run);
      }
      planned.settings.push_back(std::move(runs));
    }
    methods.push_back(std::move(planned));
  }
  return methods;
}

const std::vector<int64_t>& FirstSeeds(const Sweep& sweep,
                                       const PlannedMethod& method) {
  return method.settings.size() > 1 ? sweep.tuning_seeds : sweep.seeds;
}

}  // namespace fedlb::cli
