#include "fedlb/experiment_config.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "fedlb/component.h"
#include "fedlb/config.h"
#include "fedlb/round_task.h"
#include "fedlb/status.h"
#include "fedlb/sync_policy.h"
#include "unknown_key.h"

namespace fedlb {
namespace {

constexpr char kNameKey[] = "name";

ParamSchema<RunOptions> RunSchema() {
  using Options = RunOptions;
  return ParamSchema<Options>()
      .Add("name", &Options::name,
           "Name of the run; its folder is runs/<name>-<time>.")
      .Add("seed", &Options::seed,
           "Every random choice follows from it: the same seed and settings "
           "give the same weights.",
           AtLeast(0))
      .Add("rounds", &Options::rounds, "Rounds to train.", AtLeast(1))
      .Add("device", &Options::device, "Where clients and server compute.",
           OneOf({"cpu", "cuda"}))
      .Add("precision", &Options::precision,
           "fp32; bf16 runs forward and backward passes in bfloat16 where that "
           "is safe and keeps fp32 weights; fp64 is for exact comparisons.",
           OneOf({"fp32", "bf16", "fp64"}))
      .Add("plugins", &Options::plugins,
           "Plugins to load besides those that come with fedlb.");
}

ParamSchema<FederationOptions> FederationSchema() {
  using Options = FederationOptions;
  return ParamSchema<Options>()
      .Add("clients", &Options::clients,
           "Clients that the training data is dealt out to.", AtLeast(1))
      .Add("cohort_size", &Options::cohort_size,
           "Clients that take part in each round; 0 leaves it to "
           "cohort_fraction.",
           AtLeast(0))
      .Add("cohort_fraction", &Options::cohort_fraction,
           "Share of the clients that take part in each round, at least one "
           "client.",
           InLeftOpen(0, 1))
      .Add("min_cohort", &Options::min_cohort,
           "A round that fewer clients answer ends the run.", AtLeast(1))
      .Check([](const Options& options) {
        if (options.cohort_size > 0 && options.cohort_fraction < 1) {
          return ConfigError(
              "cohort_size and cohort_fraction both say how many clients take "
              "part; keep one of them");
        }
        return absl::OkStatus();
      });
}

ParamSchema<ExecutionOptions> ExecutionSchema() {
  using Options = ExecutionOptions;
  return ParamSchema<Options>()
      .Add(
          "intra_op_threads", &Options::intra_op_threads,
          "Threads within one tensor operation. Another number rounds "
          "differently, so it belongs to the experiment. \"auto\" gives a lone "
          "client all cores and otherwise each client one.")
      .Add("memory_limit", &Options::memory_limit,
           "Tensors may take this much memory, such as \"8GiB\"; beyond it the "
           "run ends cleanly. 0 for no limit.")
      .Add("buffers", &Options::buffers,
           "Buffers of the model, such as the running statistics of batch "
           "normalisation: \"average\" treats them like weights, \"local\" "
           "leaves each client its own.",
           OneOf({"average", "local"}));
}

ParamSchema<EvaluationOptions> EvaluationSchema() {
  using Options = EvaluationOptions;
  return ParamSchema<Options>()
      .Add("every_rounds", &Options::every_rounds,
           "Rounds from one evaluation to the next; the last round is always "
           "evaluated.",
           AtLeast(1))
      .Add("batch_size", &Options::batch_size,
           "Examples per forward pass of an evaluation. Changes speed and "
           "memory, not accuracy.",
           AtLeast(1));
}

ParamSchema<CheckpointOptions> CheckpointSchema() {
  using Options = CheckpointOptions;
  return ParamSchema<Options>()
      .Add("every_rounds", &Options::every_rounds,
           "Rounds from one checkpoint to the next; the last round is always "
           "saved.",
           AtLeast(1))
      .Add("keep", &Options::keep, "Checkpoints to keep, the newest ones.",
           AtLeast(1));
}

ParamSchema<DatasetUse> DatasetUseSchema() {
  return ParamSchema<DatasetUse>()
      .Add("validation_fraction", &DatasetUse::validation_fraction,
           "Share of the training examples that is held back for validation.",
           InHalfOpen(0, 1))
      .Add("limit_train", &DatasetUse::limit_train,
           "Use only this many training examples; 0 for all.", AtLeast(0))
      .Add("limit_test", &DatasetUse::limit_test,
           "Use only this many test examples; 0 for all.", AtLeast(0));
}

ParamSchema<BatchUse> BatchUseSchema() {
  return ParamSchema<BatchUse>().Add(
      "micro_batch_size", &BatchUse::micro_batch_size,
      "Compute a batch in pieces of this many examples and add up their "
      "gradients: less memory, the same step. 0 for the whole batch at once.",
      AtLeast(0));
}

ParamSchema<OptimizerUse> OptimizerUseSchema() {
  return ParamSchema<OptimizerUse>().Add(
      "keep_state", &OptimizerUse::keep_state,
      "Whether a client's optimizer remembers its momentum from one round to "
      "the next.");
}

ParamSchema<MapperUse> MapperUseSchema() {
  return ParamSchema<MapperUse>().Add(
      "scope", &MapperUse::scope,
      "\"server\" maps the aggregate of a round, \"client\" the gradient of "
      "each local step.",
      OneOf({"server", "client"}));
}

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
  for (const int64_t round : {int64_t{0}, config.run.rounds - 1}) {
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
      {"sampler", "sampler", "uniform", {}},
      {"client_algorithm", "client_algorithm", "none", {}},
      {"model", "model", "cnn", {}},
      {"sync_policy", "sync_policy", "fedavg", {}},
      {"batch_policy", "batch_policy", "constant", BatchUseSchema().Describe()},
      {"optimizer", "optimizer", "sgd", OptimizerUseSchema().Describe()},
      {"server_optimizer", "optimizer", "sgd", {}},
      {"lr_schedule", "lr_schedule", "constant", {}},
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
  FEDLB_RETURN_IF_ERROR(CheckCohort(config));

  FEDLB_RETURN_IF_ERROR(resolver.ResolveComponent(
      InfoOf(sections, "dataset"), DatasetUseSchema(), &config.dataset_use));
  FEDLB_RETURN_IF_ERROR(resolver.ResolveComponent(
      InfoOf(sections, "batch_policy"), BatchUseSchema(), &config.batch_use));
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
