#include "fedlb/experiment_config.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "experiment_schema.h"
#include "fedlb/component.h"
#include "fedlb/config.h"
#include "fedlb/round_task.h"
#include "fedlb/status.h"
#include "fedlb/sync_policy.h"
#include "unknown_key.h"

namespace fedlb {
namespace {

constexpr char kNameKey[] = "name";

// For components all of whose keys are their own.
struct NoUse {};
ParamSchema<NoUse> NoUseSchema() { return ParamSchema<NoUse>(); }

std::vector<std::string> NamesOf(const std::vector<ParamInfo>& params) {
  std::vector<std::string> names;
  for (const ParamInfo& param : params) {
    names.push_back(param.name);
  }
  return names;
}

// `printed` with the origins of the values that `given` holds, into `resolved`.
void AddWithOrigins(const ConfigTable& printed, const ConfigTable& given,
                    ConfigTable& resolved) {
  for (const auto& [key, value] : printed.values()) {
    const ConfigValue* source = given.Find(key);
    resolved.Set(key,
                 ConfigValue(value.data(),
                             source == nullptr ? "default" : source->origin()));
  }
}

// The section of `merged`, empty where it has none. Sections are tables:
// CheckSections has seen to that.
ConfigTable SectionOf(const ConfigTable& merged, const std::string& section) {
  const ConfigValue* value = merged.Find(section);
  return value == nullptr ? ConfigTable() : *value->As<ConfigTable>();
}

bool IsSection(absl::string_view name) {
  for (const SectionInfo& info : Sections()) {
    if (!info.section.empty() && info.section == name) {
      return true;
    }
  }
  return false;
}

// Everything at the top of `merged` is a section or a known key.
absl::Status CheckSections(const ConfigTable& merged) {
  std::vector<std::string> sections;
  for (const SectionInfo& info : Sections()) {
    if (!info.section.empty()) {
      sections.push_back(info.section);
    }
  }
  const std::vector<std::string> keys = NamesOf(RunSchema().Describe());
  for (const auto& [key, value] : merged.values()) {
    const auto* table = value.As<ConfigTable>();
    if (IsSection(key)) {
      if (table == nullptr) {
        return ConfigError(absl::StrCat(value.origin(), ": `", key,
                                        "` is a section, not a key: write [",
                                        key, "]"));
      }
      continue;
    }
    if (std::find(keys.begin(), keys.end(), key) != keys.end()) {
      continue;
    }
    if (table != nullptr) {
      return UnknownSectionError(value.origin(), key, sections);
    }
    std::vector<std::string> known = keys;
    known.insert(known.end(), sections.begin(), sections.end());
    return UnknownKeyError(value.origin(), key, known);
  }
  return absl::OkStatus();
}

// Resolves the sections of one configuration into `config`.
class SectionResolver {
 public:
  SectionResolver(const ConfigTable& merged, const ComponentRegistry& registry,
                  ExperimentConfig& config)
      : merged_(merged), registry_(registry), config_(config) {}

  // The keys before any section.
  absl::Status ResolveRun() {
    ConfigTable given;
    given.set_origin(merged_.origin());
    for (const auto& [key, value] : merged_.values()) {
      if (!IsSection(key)) {
        given.Set(key, value);
      }
    }
    FEDLB_ASSIGN_OR_RETURN(config_.run, RunSchema().Parse(given));
    AddWithOrigins(RunSchema().Print(config_.run), given, config_.resolved);
    return absl::OkStatus();
  }

  // A section without a component.
  template <typename Options>
  absl::Status ResolvePlain(const std::string& section,
                            const ParamSchema<Options>& schema,
                            Options* options) {
    const ConfigTable given = SectionOf(merged_, section);
    FEDLB_RETURN_IF_ERROR(CheckKeys(given, NamesOf(schema.Describe())));
    FEDLB_ASSIGN_OR_RETURN(*options, schema.Parse(given));
    ConfigTable& resolved = config_.resolved.Subtable(section);
    resolved.set_origin(given.origin());
    AddWithOrigins(schema.Print(*options), given, resolved);
    return absl::OkStatus();
  }

  // A section that names a component, and may have keys of the loop as well.
  template <typename Use>
  absl::Status ResolveComponent(const SectionInfo& info,
                                const ParamSchema<Use>& schema, Use* use) {
    ConfigTable given = SectionOf(merged_, info.section);
    if (given.Find(kNameKey) == nullptr) {
      given.Set(kNameKey, ConfigValue(info.default_component));
    }
    const std::vector<std::string> loop_keys = NamesOf(schema.Describe());
    DropSettingsOfOthers(info, loop_keys, given);
    const ComponentEntry* entry = FindEntry(info.kind, given);
    if (entry != nullptr) {
      std::vector<std::string> keys = {kNameKey};
      for (const ParamInfo& param : entry->params) {
        keys.push_back(param.name);
      }
      keys.insert(keys.end(), loop_keys.begin(), loop_keys.end());
      FEDLB_RETURN_IF_ERROR(CheckKeys(given, keys));
      SetServerRate(info, *entry, given);
    }

    ConfigTable for_loop;
    for_loop.set_origin(given.origin());
    ConfigTable for_component = given;
    for (const std::string& key : loop_keys) {
      if (const ConfigValue* value = given.Find(key)) {
        for_loop.Set(key, *value);
        for_component.Erase(key);
      }
    }
    FEDLB_ASSIGN_OR_RETURN(*use, schema.Parse(for_loop));
    FEDLB_ASSIGN_OR_RETURN(const ConfigTable component,
                           registry_.Resolve(info.kind, for_component));
    config_.components[info.section] = component;
    ConfigTable& resolved = config_.resolved.Subtable(info.section);
    resolved = component;
    AddWithOrigins(schema.Print(*use), given, resolved);
    return absl::OkStatus();
  }

 private:
  // The entry that `given` names, or nullptr; Resolve() says why.
  const ComponentEntry* FindEntry(const std::string& kind,
                                  const ConfigTable& given) const {
    const auto* name = given.Find(kNameKey)->As<std::string>();
    if (name == nullptr) {
      return nullptr;
    }
    const auto entry = registry_.Find(kind, *name);
    return entry.ok() ? *entry : nullptr;
  }

  // A layer that names another component begins its settings anew; those of
  // the loop stay.
  static void DropSettingsOfOthers(const SectionInfo& info,
                                   const std::vector<std::string>& loop_keys,
                                   ConfigTable& given) {
    const auto* name = given.Find(kNameKey)->As<std::string>();
    const ConfigTable::Map settings = given.values();
    for (const auto& [key, value] : settings) {
      if (!value.written_for().has_value() || name == nullptr ||
          std::find(loop_keys.begin(), loop_keys.end(), key) !=
              loop_keys.end()) {
        continue;
      }
      const std::string& component = value.written_for()->empty()
                                         ? info.default_component
                                         : *value.written_for();
      if (component != *name) {
        given.Erase(key);
      }
    }
  }

  // The server applies a mean delta in full unless told otherwise; lr of the
  // client's optimizer has another default.
  static void SetServerRate(const SectionInfo& info,
                            const ComponentEntry& entry, ConfigTable& given) {
    constexpr char kRateKey[] = "lr";
    if (info.section != "server_optimizer" ||
        entry.name != info.default_component ||
        given.Find(kRateKey) != nullptr) {
      return;
    }
    const std::vector<std::string> names = NamesOf(entry.params);
    if (std::find(names.begin(), names.end(), kRateKey) != names.end()) {
      given.Set(kRateKey, ConfigValue(1.0));
    }
  }

  static absl::Status CheckKeys(const ConfigTable& given,
                                const std::vector<std::string>& keys) {
    for (const auto& [key, value] : given.values()) {
      if (std::find(keys.begin(), keys.end(), key) != keys.end()) {
        continue;
      }
      const std::vector<std::string> top = NamesOf(RunSchema().Describe());
      if (std::find(top.begin(), top.end(), key) != top.end()) {
        return ConfigError(absl::StrCat(value.origin(), ": `", key,
                                        "` belongs before the first section"));
      }
      return UnknownKeyError(value.origin(), key, keys);
    }
    return absl::OkStatus();
  }

  const ConfigTable& merged_;
  const ComponentRegistry& registry_;
  ExperimentConfig& config_;
};

const SectionInfo& InfoOf(const std::vector<SectionInfo>& sections,
                          absl::string_view section) {
  return *std::find_if(
      sections.begin(), sections.end(),
      [&](const SectionInfo& info) { return info.section == section; });
}

// "run.toml:8:1: cohort_size = 20"
std::string Setting(const ConfigTable& table, absl::string_view key) {
  const ConfigValue& value = *table.Find(key);
  return absl::StrCat(value.origin(), ": ", key, " = ", value.ToString());
}

absl::Status CheckSimulation(const ExperimentConfig& config) {
  const size_t speeds = config.simulation.samples_per_second.size();
  if (speeds > 1 &&
      static_cast<int64_t>(speeds) != config.federation.clients) {
    const ConfigTable& table =
        *config.resolved.Find("simulation")->As<ConfigTable>();
    return ConfigError(absl::StrCat(
        table.Find("samples_per_second")->origin(), ": samples_per_second has ",
        speeds, " speeds for ", config.federation.clients,
        " clients; give one for all, or one for each"));
  }
  return absl::OkStatus();
}

absl::Status CheckCohort(const ExperimentConfig& config) {
  const FederationOptions& federation = config.federation;
  const ConfigTable& table =
      *config.resolved.Find("federation")->As<ConfigTable>();
  if (federation.cohort_size > federation.clients) {
    return ConfigError(absl::StrCat(Setting(table, "cohort_size"),
                                    ": more than the clients there are (",
                                    Setting(table, "clients"), ")"));
  }
  if (federation.min_cohort > config.cohort_size()) {
    return ConfigError(absl::StrCat(Setting(table, "min_cohort"),
                                    ": more than the ", config.cohort_size(),
                                    " clients that take part in a round"));
  }
  return absl::OkStatus();
}

// Whether clients send gradients in the first round and in the last, so that
// no round has a delta for a server optimizer.
absl::StatusOr<bool> SendsGradientsOnly(const ExperimentConfig& config,
                                        const ComponentRegistry& registry) {
  ComponentContext context;
  context.seed = static_cast<uint64_t>(config.run.seed);
  context.num_clients = config.federation.clients;
  context.num_rounds = config.run.rounds;
  context.registry = &registry;
  FEDLB_ASSIGN_OR_RETURN(const std::unique_ptr<SyncPolicy> policy,
                         registry.Create<SyncPolicy>(
                             config.components.at("sync_policy"), context));
  for (int64_t round = 0; round < config.run.rounds; ++round) {
    if (policy->Plan(round).kind != RoundWork::Kind::kGradient) {
      return false;
    }
  }
  return true;
}

}  // namespace

int64_t ExperimentConfig::cohort_size() const {
  if (federation.cohort_size > 0) {
    return federation.cohort_size;
  }
  // Rounded, because 0.29 * 100 is less than 29.
  return std::max<int64_t>(
      1, std::llround(federation.cohort_fraction *
                      static_cast<double>(federation.clients)));
}

std::vector<SectionInfo> Sections() {
  return {
      {"", "", "", RunSchema().Describe()},
      {"dataset", "dataset", "fashion_mnist", DatasetUseSchema().Describe()},
      {"partitioner", "partitioner", "iid", {}},
      {"federation", "", "", FederationSchema().Describe()},
      {"simulation", "", "", SimulationSchema().Describe()},
      {"sampler", "sampler", "uniform", {}},
      {"client_algorithm", "client_algorithm", "none", {}},
      {"model", "model", "cnn", ModelUseSchema().Describe()},
      {"sync_policy", "sync_policy", "fedavg", {}},
      {"batch_policy", "batch_policy", "constant", BatchUseSchema().Describe()},
      {"optimizer", "optimizer", "sgd", OptimizerUseSchema().Describe()},
      {"server_optimizer", "optimizer", "sgd", {}},
      {"lr_schedule", "lr_schedule", "constant",
       LrScheduleUseSchema().Describe()},
      {"gradient_mapper", "gradient_mapper", "identity",
       MapperUseSchema().Describe()},
      {"critical_phase", "", "", CriticalPhaseOptions::Schema().Describe()},
      {"compressor", "compressor", "none", {}},
      {"update_gate", "", "", UpdateGateOptions::Schema().Describe()},
      {"aggregator", "aggregator", "mean", {}},
      {"transport", "transport", "inprocess", {}},
      {"execution", "", "", ExecutionSchema().Describe()},
      {"evaluation", "", "", EvaluationSchema().Describe()},
      {"checkpoint", "", "", CheckpointSchema().Describe()},
      {"stopping", "", "", StoppingSchema().Describe()},
  };
}

absl::StatusOr<ExperimentConfig> ResolveExperiment(
    const ConfigTable& merged, const ComponentRegistry& registry) {
  FEDLB_RETURN_IF_ERROR(CheckSections(merged));
  const std::vector<SectionInfo> sections = Sections();
  ExperimentConfig config;
  SectionResolver resolver(merged, registry, config);

  FEDLB_RETURN_IF_ERROR(resolver.ResolveRun());
  FEDLB_RETURN_IF_ERROR(resolver.ResolvePlain("federation", FederationSchema(),
                                              &config.federation));
  FEDLB_RETURN_IF_ERROR(resolver.ResolvePlain("simulation", SimulationSchema(),
                                              &config.simulation));
  FEDLB_RETURN_IF_ERROR(resolver.ResolvePlain("critical_phase",
                                              CriticalPhaseOptions::Schema(),
                                              &config.critical_phase));
  FEDLB_RETURN_IF_ERROR(resolver.ResolvePlain(
      "update_gate", UpdateGateOptions::Schema(), &config.update_gate));
  FEDLB_RETURN_IF_ERROR(
      resolver.ResolvePlain("execution", ExecutionSchema(), &config.execution));
  FEDLB_RETURN_IF_ERROR(resolver.ResolvePlain("evaluation", EvaluationSchema(),
                                              &config.evaluation));
  FEDLB_RETURN_IF_ERROR(resolver.ResolvePlain("checkpoint", CheckpointSchema(),
                                              &config.checkpoint));
  FEDLB_RETURN_IF_ERROR(resolver.ResolvePlain("stopping", StoppingSchema(),
                                              &config.stopping));
  FEDLB_RETURN_IF_ERROR(CheckCohort(config));
  FEDLB_RETURN_IF_ERROR(CheckSimulation(config));

  FEDLB_RETURN_IF_ERROR(resolver.ResolveComponent(
      InfoOf(sections, "dataset"), DatasetUseSchema(), &config.dataset_use));
  FEDLB_RETURN_IF_ERROR(resolver.ResolveComponent(
      InfoOf(sections, "model"), ModelUseSchema(), &config.model_use));
  FEDLB_RETURN_IF_ERROR(resolver.ResolveComponent(
      InfoOf(sections, "batch_policy"), BatchUseSchema(), &config.batch_use));
  FEDLB_RETURN_IF_ERROR(
      resolver.ResolveComponent(InfoOf(sections, "lr_schedule"),
                                LrScheduleUseSchema(), &config.lr_use));
  FEDLB_RETURN_IF_ERROR(resolver.ResolveComponent(InfoOf(sections, "optimizer"),
                                                  OptimizerUseSchema(),
                                                  &config.optimizer_use));
  FEDLB_RETURN_IF_ERROR(
      resolver.ResolveComponent(InfoOf(sections, "gradient_mapper"),
                                MapperUseSchema(), &config.mapper_use));
  for (const SectionInfo& info : sections) {
    const bool only_component = !info.kind.empty() && info.params.empty();
    if (only_component && info.section != "server_optimizer") {
      NoUse none;
      FEDLB_RETURN_IF_ERROR(
          resolver.ResolveComponent(info, NoUseSchema(), &none));
    }
  }

  FEDLB_ASSIGN_OR_RETURN(const bool gradients_only,
                         SendsGradientsOnly(config, registry));
  const ConfigValue* server = merged.Find("server_optimizer");
  if (!gradients_only) {
    NoUse none;
    FEDLB_RETURN_IF_ERROR(resolver.ResolveComponent(
        InfoOf(sections, "server_optimizer"), NoUseSchema(), &none));
  } else if (server != nullptr) {
    return ConfigError(absl::StrCat(
        server->origin(), ": [server_optimizer] has no use with sync_policy ",
        config.components.at("sync_policy").Find(kNameKey)->ToString(),
        ", where the server applies [optimizer]; remove the section"));
  }
  return config;
}

std::string PrintConfig(const ExperimentConfig& config, bool with_origins) {
  std::vector<std::string> order = {kNameKey};
  for (const SectionInfo& info : Sections()) {
    if (!info.section.empty()) {
      order.push_back(info.section);
    }
    for (const std::string& key : NamesOf(info.params)) {
      order.push_back(key);
    }
  }
  return PrintToml(config.resolved, with_origins, order);
}

}  // namespace fedlb
