// A configuration resolved: every section checked, every default filled in.

#ifndef FEDLB_EXPERIMENT_CONFIG_H_
#define FEDLB_EXPERIMENT_CONFIG_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "fedlb/config_table.h"
#include "fedlb/critical_phase.h"
#include "fedlb/export.h"
#include "fedlb/param_schema.h"
#include "fedlb/registry.h"
#include "fedlb/update_sink.h"

namespace fedlb {

// The keys that stand before any section.
struct RunOptions {
  std::string name = "run";
  int64_t seed = 1;
  int64_t rounds = 10;
  std::string device = "cpu";
  std::string precision = "fp32";
  std::vector<std::string> plugins;
};

struct FederationOptions {
  int64_t clients = 10;
  int64_t cohort_size = 0;
  double cohort_fraction = 1;
  int64_t min_cohort = 1;
  AutoNumber deadline_seconds;
  int64_t staleness_bound = 0;
};

// Speed and availability of clients that are played in this process.
struct SimulationOptions {
  std::vector<double> samples_per_second;
  double speed_spread = 0;
  double straggler_fraction = 0;
  double straggler_slowdown = 10;
  double bytes_per_second = 0;
  double latency_seconds = 0;
  double dropout = 0;
};

struct ExecutionOptions {
  AutoInteger intra_op_threads{1};
  ByteCount memory_limit;
  std::string buffers = "average";
};

struct EvaluationOptions {
  int64_t every_rounds = 1;
  int64_t batch_size = 500;
};

struct CheckpointOptions {
  int64_t every_rounds = 1;
  int64_t keep = 3;
};

// What ends a run before its last round; 0 for never.
struct StoppingOptions {
  double target_accuracy = 0;
  double max_seconds = 0;
  int64_t patience = 0;
  double min_improvement = 0;
};

// Keys of component sections that belong to the loop and not to the component.
struct DatasetUse {
  double validation_fraction = 0;
  int64_t limit_train = 0;
  int64_t limit_test = 0;
};
struct ModelUse {
  std::string init;
  std::vector<std::string> init_skip;
  double label_smoothing = 0;
};
struct BatchUse {
  int64_t micro_batch_size = 0;
};
struct OptimizerUse {
  bool keep_state = false;
};
struct LrScheduleUse {
  std::string scaling = "none";
  int64_t base_batch_size = 256;
};
struct MapperUse {
  std::string scope = "server";
};

struct FEDLB_API ExperimentConfig {
  RunOptions run;
  FederationOptions federation;
  SimulationOptions simulation;
  ExecutionOptions execution;
  EvaluationOptions evaluation;
  CheckpointOptions checkpoint;
  StoppingOptions stopping;
  UpdateGateOptions update_gate;
  CriticalPhaseOptions critical_phase;
  DatasetUse dataset_use;
  ModelUse model_use;
  BatchUse batch_use;
  OptimizerUse optimizer_use;
  LrScheduleUse lr_use;
  MapperUse mapper_use;
  // By section name ("model", "optimizer", "server_optimizer", ...): the table
  // of the component, `name` included, without the loop's own keys.
  std::map<std::string, ConfigTable> components;
  // Everything above as one table, with origins: what config.toml holds.
  ConfigTable resolved;

  // Clients per round.
  int64_t cohort_size() const;
};

// A section of a configuration: which kind of component it names (empty: none)
// and which keys belong to the loop.
struct SectionInfo {
  std::string section;  // empty for the keys before any section
  std::string kind;
  std::string default_component;
  std::vector<ParamInfo> params;
};

// All sections in the order in which a configuration is printed.
FEDLB_API std::vector<SectionInfo> Sections();

// Checks `merged` and fills in what it leaves out. kConfig with origin and key:
// unknown section or key (with the nearest valid one), what a schema refuses,
// and sections that contradict each other.
FEDLB_API absl::StatusOr<ExperimentConfig> ResolveExperiment(
    const ConfigTable& merged, const ComponentRegistry& registry);

// `config.resolved` as TOML, in the order of Sections().
FEDLB_API std::string PrintConfig(const ExperimentConfig& config,
                                  bool with_origins);

}  // namespace fedlb

#endif  // FEDLB_EXPERIMENT_CONFIG_H_
