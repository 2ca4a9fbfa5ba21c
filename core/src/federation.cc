#include "federation.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <thread>
#include <utility>

#include <ATen/Parallel.h>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "client_batches.h"
#include "experiment_data.h"
#include "fedlb/memory.h"
#include "fedlb/random.h"
#include "fedlb/status.h"
#include "weights_file.h"

namespace fedlb {
namespace {

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

// Examples that a client of `examples` takes gradients of.
int64_t SamplesOf(const RoundWork& work, int64_t steps, int64_t batch_size,
                  int64_t examples) {
  return work.local_steps > 0 || work.kind == RoundWork::Kind::kGradient
             ? steps * std::min(batch_size, examples)
             : static_cast<int64_t>(work.local_epochs *
                                    static_cast<double>(examples));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Federation>> Federation::Create(
    const ExperimentConfig& config, const ComponentRegistry& registry,
    Logger& logger) {
  auto federation = std::make_unique<Federation>();
  Federation& f = *federation;
  f.config = config;
  f.clock =
      VirtualClock(config.simulation, config.federation.deadline_seconds.value,
                   static_cast<uint64_t>(config.run.seed));
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
  context = MakeContext(config, registry, logger);
  const auto table = [&f](const char* section) -> const ConfigTable& {
    return f.config.components.at(section);
  };
  FEDLB_ASSIGN_OR_RETURN(ExperimentData data, ReadData(f.config, context));
  FEDLB_ASSIGN_OR_RETURN(f.partition, DealData(f.config, context, data));
  f.dataset = std::move(data.dataset);
  f.validation = std::move(data.validation);
  f.test = std::move(data.test);
  for (const std::vector<int64_t>& examples : f.partition) {
    f.num_examples.push_back(static_cast<int64_t>(examples.size()));
  }

  FEDLB_ASSIGN_OR_RETURN(f.sampler,
                         registry.Create<Sampler>(table("sampler"), context));
  FEDLB_ASSIGN_OR_RETURN(f.sync_policy, registry.Create<SyncPolicy>(
                                            table("sync_policy"), context));
  FEDLB_ASSIGN_OR_RETURN(f.batch_policy, registry.Create<BatchPolicy>(
                                             table("batch_policy"), context));
  FEDLB_ASSIGN_OR_RETURN(f.lr_schedule, registry.Create<LrSchedule>(
                                            table("lr_schedule"), context));
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
  if (!config.model_use.init.empty()) {
    FEDLB_RETURN_IF_ERROR(
        Annotate(LoadWeightsFile(config.model_use.init,
                                 config.model_use.init_skip, *f.model),
                 "model.init"));
  }
  FEDLB_ASSIGN_OR_RETURN(
      f.transport, registry.Create<Transport>(table("transport"), context));
  f.remote = dynamic_cast<RemoteTransport*>(f.transport.get());

  FEDLB_RETURN_IF_ERROR(
      Annotate(f.gradient_mapper->Prepare(f.model->parameter_layout()),
               "[gradient_mapper]"));
  if (f.aggregator->min_updates() > config.cohort_size()) {
    return ConfigError(absl::StrCat(
        "[aggregator] ", f.NameOf("aggregator"), " needs ",
        f.aggregator->min_updates(), " updates in a round, and the cohort has ",
        config.cohort_size(),
        " clients; raise federation.cohort_size or, where the rule has it, "
        "lower aggregator.byzantine"));
  }
  const bool maps_deltas =
      f.maps_on_server() &&
      f.sync_policy->Plan(0).kind == RoundWork::Kind::kLocalSteps;
  const Optimizer& behind_mapper =
      maps_deltas ? *f.server_optimizer : *f.optimizer;
  FEDLB_RETURN_IF_ERROR(Annotate(
      f.gradient_mapper->CheckOptimizer(behind_mapper.traits(), logger),
      "[gradient_mapper]"));
  const bool reads_updates = f.maps_on_server()
                                 ? f.gradient_mapper->NeedsPartialMeans()
                                 : f.gradient_mapper->LearnsFromAggregate();
  if (reads_updates && !f.aggregator->LinearState().has_value()) {
    return ConfigError(
        "[gradient_mapper] asks for partial means of the cohort, which a "
        "robust aggregator would not protect; use aggregator.name = \"mean\" "
        "or another mapper");
  }

  if (f.gradient_mapper->AsksForPairs() &&
      (!f.maps_on_server() ||
       f.sync_policy->Plan(0).kind != RoundWork::Kind::kGradient)) {
    return ConfigError(
        "[gradient_mapper] asks for pairs to be fitted to, which clients make "
        "for gradients on the server only; use gradient_mapper.scope = "
        "\"server\" with sync_policy.name = \"bsp\", or refit = \"never\"");
  }
  if (f.gradient_mapper->AsksForPairs() &&
      f.gradient_mapper->ReadsCriticalPhase() &&
      config.critical_phase.scope != "server") {
    return ConfigError(
        "[gradient_mapper] asks for pairs by the phase, which is known between "
        "rounds with critical_phase.scope = \"server\" only");
  }

  if (f.sync_policy->KeepsClientWeights() &&
      config.critical_phase.scope != "client") {
    return ConfigError(
        "[sync_policy] has clients vote by their own gradient change; set "
        "critical_phase.scope = \"client\"");
  }
  FEDLB_RETURN_IF_ERROR(f.CheckTime());
  f.WarnAboutPhases();

  f.environment = {.config = &f.config,
                   .registry = &registry,
                   .context = context,
                   .dataset = f.dataset.get(),
                   .partition = &f.partition,
                   .algorithm = f.client_algorithm.get(),
                   .compressor = f.compressor.get(),
                   .sync_policy = f.sync_policy.get()};
  f.host = std::make_unique<LocalClientHost>(f.environment, threads);
  return federation;
}

std::string Federation::NameOf(const char* section) const {
  const ConfigValue* name = config.components.at(section).Find("name");
  return name == nullptr ? "" : *name->As<std::string>();
}

absl::StatusOr<std::vector<ClientAssignment>> Federation::Cohort(
    int64_t round) const {
  FEDLB_ASSIGN_OR_RETURN(const std::vector<int64_t> clients,
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

int64_t Federation::Samples(const RoundWork& work,
                            const ClientAssignment& assignment) const {
  return SamplesOf(work, LocalSteps(work, assignment), assignment.batch_size,
                   num_examples[static_cast<size_t>(assignment.client)]);
}

absl::StatusOr<int64_t> Federation::UploadBytes() const {
  Update update;
  update.groups[kParametersGroup] = Zeros(model->parameter_layout());
  ComponentState no_residual;
  FEDLB_RETURN_IF_ERROR(
      Annotate(compressor->Compress(update, no_residual), "compressor"));
  int64_t bytes = NumBytes(model->buffer_layout());
  for (const auto& [name, tensors] : update.groups) {
    bytes += NumBytes(tensors);
  }
  return bytes;
}

double Federation::LearningRate(
    int64_t round, const RoundWork& work,
    const std::vector<ClientAssignment>& cohort) const {
  double batch = 0;
  for (const ClientAssignment& assignment : cohort) {
    batch += static_cast<double>(
        std::min(assignment.batch_size,
                 num_examples[static_cast<size_t>(assignment.client)]));
  }
  if (work.kind == RoundWork::Kind::kLocalSteps && !cohort.empty()) {
    batch /= static_cast<double>(cohort.size());
  }
  const double ratio =
      batch / static_cast<double>(config.lr_use.base_batch_size);
  const double scale = config.lr_use.scaling == "linear" ? ratio
                       : config.lr_use.scaling == "sqrt" ? std::sqrt(ratio)
                                                         : 1;
  return optimizer->base_lr() * scale *
         lr_schedule->Factor(round, config.run.rounds);
}

// Clients elsewhere take real time, those played here have a clock at most.
absl::Status Federation::CheckTime() const {
  const FederationOptions& options = config.federation;
  if (remote != nullptr) {
    return clock.has_clock() || config.simulation.dropout > 0
               ? ConfigError(
                     "[simulation] is for clients that are played in this "
                     "process, and [transport] has them elsewhere; remove the "
                     "section")
               : absl::OkStatus();
  }
  if (options.deadline_seconds.is_auto()) {
    return ConfigError(
        "federation.deadline_seconds = \"auto\" measures clients elsewhere, and "
        "[transport] plays them in this process; give a number");
  }
  if (options.deadline_seconds.value > 0 && !clock.has_clock()) {
    return ConfigError(
        "federation.deadline_seconds has nothing to act on: clients that are "
        "played in this process have the clock of [simulation] only; set "
        "simulation.samples_per_second");
  }
  if (options.staleness_bound > 0) {
    return ConfigError(
        "federation.staleness_bound is for clients elsewhere, and [transport] "
        "plays them in this process, where none is late; remove the setting");
  }
  return absl::OkStatus();
}

// The default window is meant for thousands of steps.
void Federation::WarnAboutPhases() const {
  const CriticalPhaseOptions& phase = config.critical_phase;
  if (!gradient_mapper->ReadsCriticalPhase() || phase.smoothing != "ewma" ||
      phase.scope != "server" || config.run.rounds > phase.window + 1) {
    return;
  }
  logger->Warning(absl::StrCat(
      "[critical_phase] smooths over ", phase.window,
      " gradients and the run has ", config.run.rounds,
      " rounds: every one of them counts as critical; lower "
      "critical_phase.window, or set critical_phase.smoothing = \"none\""));
}

int64_t Federation::LocalSteps(const RoundWork& work,
                               const ClientAssignment& assignment) const {
  const auto& examples = partition[static_cast<size_t>(assignment.client)];
  return LocalStepsOf(work, ClientBatches(context.seed, assignment.client,
                                          examples, assignment.batch_size));
}

}  // namespace fedlb
