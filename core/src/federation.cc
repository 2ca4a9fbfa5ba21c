#include "federation.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <thread>
#include <utility>

#include <ATen/Parallel.h>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "client_batches.h"
#include "fedlb/memory.h"
#include "fedlb/random.h"
#include "fedlb/status.h"

namespace fedlb {
namespace {

std::vector<int64_t> FirstIndices(int64_t count, int64_t limit) {
  std::vector<int64_t> indices(
      static_cast<size_t>(limit > 0 ? std::min(limit, count) : count));
  std::iota(indices.begin(), indices.end(), 0);
  return indices;
}

// Moves a random share of `train` to the validation set.
std::vector<int64_t> TakeValidation(uint64_t seed, double fraction,
                                    std::vector<int64_t>& train) {
  const auto count = static_cast<int64_t>(
      std::floor(fraction * static_cast<double>(train.size())));
  const ShuffledOrder order({.seed = seed, .purpose = "validation"},
                            static_cast<int64_t>(train.size()));
  std::vector<int64_t> validation;
  std::vector<int64_t> rest;
  for (size_t i = 0; i < train.size(); ++i) {
    (order[static_cast<int64_t>(i)] < count ? validation : rest)
        .push_back(train[i]);
  }
  train = std::move(rest);
  return validation;
}

// A lone client gets the cores; otherwise parallelism comes from clients. It
// depends on the experiment only, because two threads give other bits than one.
int64_t ResolveIntraOpThreads(const ExperimentConfig& config) {
  if (!config.execution.intra_op_threads.is_auto()) {
    return config.execution.intra_op_threads.value;
  }
  return config.cohort_size() == 1
             ? std::max<int64_t>(1, std::thread::hardware_concurrency())
             : 1;
}

at::ScalarType DtypeOf(const std::string& precision) {
  // Under bf16 only the operations are cast; weights stay in float.
  return precision == "fp64" ? at::kDouble : at::kFloat;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Federation>> Federation::Create(
    const ExperimentConfig& config, const ComponentRegistry& registry,
    Logger& logger) {
  auto federation = std::make_unique<Federation>();
  Federation& f = *federation;
  f.config = config;
  f.registry = &registry;
  f.logger = &logger;
  if (config.run.device != "cpu") {
    return ConfigError(absl::StrCat("device = \"", config.run.device,
                                    "\": this build trains on the cpu only"));
  }

  const int64_t threads = ResolveIntraOpThreads(config);
  f.config.execution.intra_op_threads.value = threads;
  f.config.resolved.Subtable("execution")
      .Set("intra_op_threads", ConfigValue(threads));
  at::set_num_threads(static_cast<int>(threads));
  SetMemoryLimit(config.execution.memory_limit.value);

  ComponentContext& context = f.context;
  context.seed = static_cast<uint64_t>(config.run.seed);
  context.dtype = DtypeOf(config.run.precision);
  context.num_clients = config.federation.clients;
  context.num_rounds = config.run.rounds;
  context.registry = &registry;
  context.logger = &logger;

  const auto table = [&f](const char* section) -> const ConfigTable& {
    return f.config.components.at(section);
  };
  FEDLB_ASSIGN_OR_RETURN(f.dataset,
                         registry.Create<Dataset>(table("dataset"), context));
  context.example_shape = f.dataset->example_shape();
  context.num_classes = f.dataset->num_classes();

  const DatasetUse& use = config.dataset_use;
  std::vector<int64_t> train =
      FirstIndices(f.dataset->size(Split::kTrain), use.limit_train);
  f.test = FirstIndices(f.dataset->size(Split::kTest), use.limit_test);
  f.validation = TakeValidation(context.seed, use.validation_fraction, train);
  FEDLB_ASSIGN_OR_RETURN(
      const std::unique_ptr<Partitioner> partitioner,
      registry.Create<Partitioner>(table("partitioner"), context));
  FEDLB_ASSIGN_OR_RETURN(
      f.partition,
      partitioner->Deal(train, f.dataset->labels(Split::kTrain),
                        context.num_classes, config.federation.clients));
  for (const std::vector<int64_t>& examples : f.partition) {
    f.num_examples.push_back(static_cast<int64_t>(examples.size()));
  }

  FEDLB_ASSIGN_OR_RETURN(f.sampler,
                         registry.Create<Sampler>(table("sampler"), context));
  FEDLB_ASSIGN_OR_RETURN(
      f.sync_policy, registry.Create<SyncPolicy>(table("sync_policy"), context));
  FEDLB_ASSIGN_OR_RETURN(
      f.batch_policy,
      registry.Create<BatchPolicy>(table("batch_policy"), context));
  FEDLB_ASSIGN_OR_RETURN(
      f.lr_schedule, registry.Create<LrSchedule>(table("lr_schedule"), context));
  FEDLB_ASSIGN_OR_RETURN(
      f.client_algorithm,
      registry.Create<ClientAlgorithm>(table("client_algorithm"), context));
  FEDLB_ASSIGN_OR_RETURN(
      f.compressor, registry.Create<Compressor>(table("compressor"), context));
  FEDLB_ASSIGN_OR_RETURN(
      f.aggregator, registry.Create<Aggregator>(table("aggregator"), context));
  FEDLB_ASSIGN_OR_RETURN(
      f.gradient_mapper,
      registry.Create<GradientMapper>(table("gradient_mapper"), context));
  FEDLB_ASSIGN_OR_RETURN(
      f.optimizer, registry.Create<Optimizer>(table("optimizer"), context));
  if (config.components.count("server_optimizer") > 0) {
    FEDLB_ASSIGN_OR_RETURN(
        f.server_optimizer,
        registry.Create<Optimizer>(table("server_optimizer"), context));
  }
  FEDLB_ASSIGN_OR_RETURN(f.model,
                         registry.Create<Model>(table("model"), context));
  FEDLB_ASSIGN_OR_RETURN(
      f.transport, registry.Create<Transport>(table("transport"), context));

  const bool maps_deltas =
      f.maps_on_server() &&
      f.sync_policy->Plan(0).kind == RoundWork::Kind::kLocalSteps;
  const Optimizer& behind_mapper =
      maps_deltas ? *f.server_optimizer : *f.optimizer;
  FEDLB_RETURN_IF_ERROR(Annotate(
      f.gradient_mapper->CheckOptimizer(behind_mapper.traits(), logger),
      "[gradient_mapper]"));
  if (f.maps_on_server() && f.gradient_mapper->NeedsPartialMeans() &&
      !f.aggregator->LinearState().has_value()) {
    return ConfigError(
        "[gradient_mapper] asks for partial means of the cohort, which a "
        "robust aggregator would not protect; use aggregator.name = \"mean\" "
        "or another mapper");
  }

  f.environment = {.config = &f.config,
                   .registry = &registry,
                   .context = context,
                   .dataset = f.dataset.get(),
                   .partition = &f.partition,
                   .algorithm = f.client_algorithm.get(),
                   .compressor = f.compressor.get()};
  f.host = std::make_unique<LocalClientHost>(f.environment, threads);
  return federation;
}

absl::StatusOr<std::vector<ClientAssignment>> Federation::Cohort(
    int64_t round) const {
  FEDLB_ASSIGN_OR_RETURN(
      const std::vector<int64_t> clients,
      sampler->Sample({.round = round,
                       .cohort_size = config.cohort_size(),
                       .num_examples = num_examples}));
  std::vector<ClientAssignment> cohort;
  cohort.reserve(clients.size());
  for (const int64_t client : clients) {
    FEDLB_ASSIGN_OR_RETURN(const int64_t batch_size,
                           batch_policy->BatchSize(round, client));
    cohort.push_back({client, batch_size});
  }
  return cohort;
}

int64_t Federation::LocalSteps(const RoundWork& work,
                               const ClientAssignment& assignment) const {
  const auto& examples = partition[static_cast<size_t>(assignment.client)];
  return LocalStepsOf(work,
                      ClientBatches(context.seed, assignment.client, examples,
                                    assignment.batch_size));
}

}  // namespace fedlb
