#include "fedlb/experiment.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <optional>
#include <random>
#include <utility>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "evaluation.h"
#include "federation.h"
#include "fedlb/config.h"
#include "fedlb/data_summary.h"
#include "fedlb/durable_file.h"
#include "fedlb/fingerprint.h"
#include "fedlb/mapper_file.h"
#include "fedlb/partition_picture.h"
#include "fedlb/profile.h"
#include "fedlb/report.h"
#include "fedlb/run_directory.h"
#include "fedlb/safetensors.h"
#include "fedlb/status.h"
#include "local_client_worker.h"
#include "profile/communication.h"
#include "profile/noise_probe.h"
#include "profile/profile_check.h"
#include "profile/profiler.h"
#include "round_loop.h"
#include "run_state.h"
#include "shared_settings.h"
#include "weights_file.h"

namespace fedlb {
namespace {

constexpr int kTimedSteps = 3;
constexpr int64_t kMaxRecordBytes = 4 << 20;

double Quantile(std::vector<double> values, double q) {
  if (values.empty()) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  const auto rank =
      static_cast<size_t>(q * static_cast<double>(values.size() - 1) + 0.5);
  std::nth_element(values.begin(), values.begin() + static_cast<long>(rank),
                   values.end());
  return values[rank];
}

ScalarMap SummariseMapper(const RunState& state) {
  ScalarMap summary;
  for (const auto& [name, sum] : state.mapper_sums) {
    const std::string key =
        name == "scaled" ? "scaled_share" : absl::StrCat("mean_", name);
    summary[key] = sum / static_cast<double>(state.mapper_reports);
  }
  summary["gradient_change_p10"] = Quantile(state.gradient_changes, 0.1);
  summary["gradient_change_p50"] = Quantile(state.gradient_changes, 0.5);
  summary["gradient_change_p90"] = Quantile(state.gradient_changes, 0.9);
  return summary;
}

// What started this process and with which versions; `earlier` lists the
// records of the processes that the run went through before.
nlohmann::ordered_json ProcessRecord(const Federation& federation,
                                     const TrainOptions& options) {
  nlohmann::ordered_json plugins = nlohmann::ordered_json::array();
  for (const PluginRecord& plugin : federation.registry->plugins()) {
    plugins.push_back({{"name", plugin.name},
                       {"version", plugin.version},
                       {"fingerprint", plugin.fingerprint},
                       {"path", plugin.path}});
  }
  return {{"argv", options.argv},
          {"version", HostVersion()},
          {"fingerprint", HostFingerprint()},
          {"torch", FEDLB_TORCH_VERSION},
          {"seed", federation.config.run.seed},
          {"device", federation.config.run.device},
          {"started", absl::FormatTime(absl::RFC3339_sec, absl::Now(),
                                       absl::UTCTimeZone())},
          {"plugins", std::move(plugins)}};
}

// Names a run for its clients.
std::string NewRunId() {
  std::random_device random;
  return absl::StrFormat("%08x%08x", random(), random());
}

// run.json: this process, under "run_id" the name that a run keeps, and under
// "earlier" the processes before this one, oldest first.
nlohmann::ordered_json RunRecord(const Federation& federation,
                                 const TrainOptions& options) {
  using Json = nlohmann::ordered_json;
  Json record = ProcessRecord(federation, options);
  record["run_id"] = NewRunId();
  if (options.resume) {
    const absl::StatusOr<std::string> text = ReadWholeFile(
        absl::StrCat(options.run_dir, "/run.json"), kMaxRecordBytes);
    Json before = text.ok() ? Json::parse(*text, nullptr, false) : Json();
    if (before.is_object()) {
      const auto run_id = before.find("run_id");
      if (run_id != before.end() && run_id->is_string()) {
        record["run_id"] = *run_id;
      }
      Json earlier = before.value("earlier", Json::array());
      before.erase("earlier");
      earlier.push_back(std::move(before));
      record["earlier"] = std::move(earlier);
    }
  }
  return record;
}

class FederatedExperiment final : public Experiment {
 public:
  explicit FederatedExperiment(std::unique_ptr<Federation> federation)
      : federation_(std::move(federation)) {}

  ~FederatedExperiment() override {
    if (federation_ != nullptr) {
      federation_->transport->Close();
    }
  }

  const ExperimentConfig& config() const override {
    return federation_->config;
  }

  absl::StatusOr<ExperimentPlan> Plan(const std::atomic<int>* stop) override;
  absl::StatusOr<TrainResult> Train(const TrainOptions& options) override;
  absl::StatusOr<EvaluationReport> Evaluate(
      const EvaluateOptions& options) override;
  absl::StatusOr<DeviceProfile> Profile(const ProfileOptions& options) override;
  absl::StatusOr<ScalarMap> FitMapper() override;
  absl::Status SaveMapper(const std::string& path) const override;

 private:
  absl::StatusOr<RunState> PrepareState(RunDirectory& directory,
                                        const TrainOptions& options);
  void DescribeBatches(const std::vector<ClientAssignment>& cohort,
                       ExperimentPlan& plan) const;
  absl::StatusOr<std::optional<LinkModel>> MeasureRemote();
  // Everything anew, as a run would begin.
  absl::Status Restart(const ExperimentConfig& config);
  absl::Status TimeSteps(const std::vector<ClientAssignment>& cohort,
                         double* seconds_per_sample, int64_t* peak_bytes);

  std::unique_ptr<Federation> federation_;
};

// Times a few steps of the cohort's largest batch on one worker.
absl::Status FederatedExperiment::TimeSteps(
    const std::vector<ClientAssignment>& cohort, double* seconds_per_sample,
    int64_t* peak_bytes) {
  Federation& f = *federation_;
  FEDLB_ASSIGN_OR_RETURN(const std::unique_ptr<LocalClientWorker> worker,
                         LocalClientWorker::Create(f.environment));
  const ClientAssignment largest = *std::max_element(
      cohort.begin(), cohort.end(), [&f](const auto& a, const auto& b) {
        const auto batch = [&f](const ClientAssignment& assignment) {
          return std::min(
              assignment.batch_size,
              f.num_examples[static_cast<size_t>(assignment.client)]);
        };
        return batch(a) < batch(b);
      });
  const RunState state(f);
  RoundTask task;
  task.weights = state.weights;
  task.buffers = state.buffers;
  task.scalars = {{"step", 0}, {"critical", 1}, {"gradient_change", 0}};
  task.work = f.sync_policy->Plan(0);
  FEDLB_RETURN_IF_ERROR(
      Annotate(f.client_algorithm->PrepareTask(task), "client algorithm"));
  if (task.work.kind == RoundWork::Kind::kLocalSteps) {
    task.work = {.kind = RoundWork::Kind::kLocalSteps, .local_steps = 1};
  }
  ResetPeakMemory();
  int64_t samples = 0;
  absl::Time start;
  for (int step = -1; step < kTimedSteps; ++step) {
    if (step == 0) {
      start = absl::Now();  // the first step warmed up
      samples = 0;
    }
    ClientState client_state;
    FEDLB_ASSIGN_OR_RETURN(const Update update,
                           worker->Run(task, largest, client_state));
    samples += update.num_samples;
  }
  const double seconds = absl::ToDoubleSeconds(absl::Now() - start);
  *seconds_per_sample = seconds / static_cast<double>(samples);
  *peak_bytes = GetMemoryStats().peak_total;
  return absl::OkStatus();
}

void FederatedExperiment::DescribeBatches(
    const std::vector<ClientAssignment>& cohort, ExperimentPlan& plan) const {
  for (const ClientAssignment& assignment : cohort) {
    const int64_t examples =
        federation_->num_examples[static_cast<size_t>(assignment.client)];
    const int64_t batch = std::min(assignment.batch_size, examples);
    plan.min_batch =
        plan.min_batch == 0 ? batch : std::min(plan.min_batch, batch);
    plan.max_batch = std::max(plan.max_batch, batch);
    plan.clients_below_batch_size += examples < assignment.batch_size ? 1 : 0;
  }
}

absl::StatusOr<ExperimentPlan> FederatedExperiment::Plan(
    const std::atomic<int>* stop) {
  Federation& f = *federation_;
  f.environment.stop = stop;
  ExperimentPlan plan;
  plan.rounds = f.config.run.rounds;
  plan.clients = f.config.federation.clients;
  plan.cohort_size = f.config.cohort_size();
  for (const int64_t count : f.num_examples) {
    plan.train_examples += count;
  }
  plan.validation_examples = static_cast<int64_t>(f.validation.size());
  plan.test_examples = static_cast<int64_t>(f.test.size());
  const auto [smallest, largest] =
      std::minmax_element(f.num_examples.begin(), f.num_examples.end());
  plan.min_client_examples = *smallest;
  plan.max_client_examples = *largest;
  plan.parameters = NumElements(f.model->parameters());

  const int64_t model_bytes =
      NumBytes(f.model->parameters()) + NumBytes(f.model->buffers());
  FEDLB_ASSIGN_OR_RETURN(const int64_t upload_bytes, f.UploadBytes());
  for (int64_t round = 0; round < plan.rounds; ++round) {
    FEDLB_ASSIGN_OR_RETURN(const std::vector<ClientAssignment> cohort,
                           f.Cohort(round));
    const RoundWork work = f.sync_policy->Plan(round);
    const bool gradient_round = work.kind == RoundWork::Kind::kGradient;
    plan.optimizer_steps += gradient_round ? 1 : 0;
    for (const ClientAssignment& assignment : cohort) {
      const int64_t steps = f.LocalSteps(work, assignment);
      plan.optimizer_steps += gradient_round ? 0 : steps;
      plan.samples += f.Samples(work, assignment);
    }
    const auto clients = static_cast<int64_t>(cohort.size());
    plan.bytes_to_clients += clients * model_bytes;
    plan.bytes_from_clients += clients * upload_bytes;
  }

  const TensorLayout& layout = f.model->parameter_layout();
  // Every worker has a model, whether or not the cohort keeps it busy.
  const int64_t workers = f.transport->concurrency();
  plan.dataset_bytes = f.dataset->memory_bytes();
  plan.model_bytes = 2 * model_bytes * workers;
  plan.optimizer_bytes = f.server_optimizer != nullptr
                             ? workers * f.optimizer->StateBytes(layout) +
                                   f.server_optimizer->StateBytes(layout)
                             : f.optimizer->StateBytes(layout);
  plan.mapper_bytes = (f.maps_on_server() ? 1 : 1 + workers) *
                      f.gradient_mapper->StateBytes(layout);
  if (f.maps_on_server() && f.gradient_mapper->NeedsPartialMeans()) {
    // Sums in double, and the means.
    const int64_t groups = std::min(kMaxPartialMeans, plan.cohort_size);
    plan.mapper_bytes +=
        groups * (plan.parameters * static_cast<int64_t>(sizeof(double)) +
                  NumBytes(layout));
  }
  plan.client_state_bytes =
      plan.clients *
      (static_cast<int64_t>(sizeof(ClientState)) +
       f.client_algorithm->BytesPerClient(layout) +
       f.compressor->BytesPerClient(layout) +
       (f.config.optimizer_use.keep_state ? f.optimizer->StateBytes(layout)
                                          : 0) +
       (f.sync_policy->KeepsClientWeights() ? model_bytes : 0));

  FEDLB_ASSIGN_OR_RETURN(const std::vector<ClientAssignment> cohort,
                         f.Cohort(0));
  DescribeBatches(cohort, plan);
  double seconds_per_sample = 0;
  FEDLB_RETURN_IF_ERROR(
      TimeSteps(cohort, &seconds_per_sample, &plan.peak_step_bytes));
  plan.seconds = seconds_per_sample * static_cast<double>(plan.samples) /
                 static_cast<double>(std::min(workers, plan.cohort_size));
  return plan;
}

// Where the run begins or goes on; the folder then says what runs in it.
absl::StatusOr<RunState> FederatedExperiment::PrepareState(
    RunDirectory& directory, const TrainOptions& options) {
  Federation& f = *federation_;
  RunState state(f);
  bool begins = true;
  if (options.resume) {
    absl::StatusOr<StoredCheckpoint> checkpoint =
        directory.LoadNewestCheckpoint();
    if (checkpoint.ok()) {
      FEDLB_ASSIGN_OR_RETURN(state, RestoreCheckpoint(*checkpoint, f));
      begins = false;
      if (state.next_round > f.config.run.rounds) {
        return ConfigError(absl::StrCat(
            "rounds = ", f.config.run.rounds, ": the run has done ",
            state.next_round, " rounds; resume it with at least as many"));
      }
      f.logger->Info(absl::StrCat("resumed after round ", state.next_round));
    } else if (absl::IsNotFound(checkpoint.status())) {
      f.logger->Warning(absl::StrCat(
          directory.path(),
          " holds no checkpoint, as after an end before the first one was "
          "written: the run begins again"));
    } else {
      return checkpoint.status();
    }
    FEDLB_RETURN_IF_ERROR(
        directory.Truncate(RunLog::kMetrics, state.metrics_length));
    FEDLB_RETURN_IF_ERROR(
        directory.Truncate(RunLog::kEvents, state.events_length));
  }
  if (begins) {
    FEDLB_RETURN_IF_ERROR(
        Annotate(f.gradient_mapper->WarmStart(), "[gradient_mapper]"));
  }
  FEDLB_RETURN_IF_ERROR(directory.WriteFile(
      "config.toml", PrintConfig(f.config, /*with_origins=*/false)));
  const nlohmann::ordered_json record = RunRecord(f, options);
  // Invalid UTF-8 in argv must not end the run.
  FEDLB_RETURN_IF_ERROR(directory.WriteFile(
      "run.json",
      record.dump(2, ' ', false,
                  nlohmann::ordered_json::error_handler_t::replace) +
          "\n"));
  if (f.remote != nullptr) {
    f.remote->Announce(
        {.run_id = record.at("run_id").get<std::string>(),
         .settings = PrintToml(SharedSettings(f.config.resolved, *f.registry),
                               /*with_origins=*/false),
         .num_clients = f.config.federation.clients,
         .num_rounds = f.config.run.rounds,
         .next_round = state.next_round,
         .deadline_seconds = f.config.federation.deadline_seconds,
         .staleness_bound = f.config.federation.staleness_bound,
         .model_bytes = NumBytes(state.weights) + NumBytes(state.buffers),
         .spill_folder = options.run_dir,
         .stop = options.stop});
  }
  FEDLB_RETURN_IF_ERROR(directory.WriteFile(
      "partition.svg", DrawPartition(SummariseDealt(
                           f.partition, f.dataset->labels(Split::kTrain),
                           f.dataset->num_classes()))));
  return state;
}

absl::StatusOr<TrainResult> FederatedExperiment::Train(
    const TrainOptions& options) {
  Federation& f = *federation_;
  std::optional<ProfileCheck> check;
  if (options.profile != nullptr) {
    FEDLB_ASSIGN_OR_RETURN(check, ProfileCheck::Create(*options.profile, f));
  }
  FEDLB_ASSIGN_OR_RETURN(
      const std::unique_ptr<RunDirectory> directory,
      RunDirectory::Open(options.run_dir, options.resume, *f.logger));
  FEDLB_ASSIGN_OR_RETURN(RunState state, PrepareState(*directory, options));
  f.environment.stop = options.stop;
  FEDLB_RETURN_IF_ERROR(Annotate(f.transport->Open(*f.host), "[transport]"));
  if (f.host->num_workers() == 0) {
    // The clients live elsewhere; evaluation needs a model here.
    FEDLB_RETURN_IF_ERROR(f.host->StartWorkers(1));
  }
  ResetPeakMemory();
  RoundLoop loop(f, state, *directory, options,
                 check.has_value() ? &*check : nullptr);
  const absl::Status ran = loop.Run();
  if (f.remote != nullptr) {
    f.remote->RunEnded(ran);
  }
  FEDLB_RETURN_IF_ERROR(ran);

  TrainResult result;
  result.run_dir = directory->path();
  result.rounds = state.next_round;
  result.steps = state.steps;
  result.samples = state.samples;
  result.test = loop.test();
  result.validation = loop.validation();
  result.train_loss = state.train_loss;
  result.seconds = state.seconds;
  result.evaluation_seconds = state.evaluation_seconds;
  result.virtual_seconds = state.virtual_seconds;
  result.stopped_by = loop.stopped_by();
  result.samples_per_second =
      static_cast<double>(state.samples) / state.seconds;
  result.memory = GetMemoryStats();
  result.peak_memory_bytes = result.memory.peak_total;
  if (check.has_value()) {
    result.profile = check->Compare(result.peak_memory_bytes);
  }
  result.weights_sha256 = Sha256Hex(state.weights);
  result.mapper = SummariseMapper(state);
  result.mapper.merge(f.gradient_mapper->Summary());
  result.dropped_updates = state.dropped_updates;
  result.traffic = f.transport->traffic();

  FEDLB_RETURN_IF_ERROR(WriteSafetensors(
      absl::StrCat(directory->path(), "/weights.safetensors"),
      MakeWeightsFile(*f.model, state.weights, state.buffers)));
  FEDLB_ASSIGN_OR_RETURN(const Report report,
                         RenderReport({directory->path()}));
  FEDLB_RETURN_IF_ERROR(directory->WriteFile("report.html", report.page));
  return result;
}

// The file to evaluate; "" for the initial weights.
absl::StatusOr<std::string> FindWeights(const EvaluateOptions& options) {
  if (!options.weights.empty() || options.run_dir.empty()) {
    return options.weights;
  }
  return NewestCheckpointPath(options.run_dir);
}

absl::StatusOr<EvaluationReport> FederatedExperiment::Evaluate(
    const EvaluateOptions& options) {
  Federation& f = *federation_;
  f.environment.stop = options.stop;
  EvaluationReport report;
  FEDLB_ASSIGN_OR_RETURN(report.weights, FindWeights(options));
  if (!report.weights.empty()) {
    FEDLB_RETURN_IF_ERROR(LoadWeightsFile(report.weights, {}, *f.model));
  }
  const TensorList weights = Clone(f.model->parameters());
  const TensorList buffers = Clone(f.model->buffers());
  FEDLB_RETURN_IF_ERROR(f.host->StartWorkers(f.transport->concurrency()));
  const int64_t chunk = f.config.evaluation.batch_size;
  FEDLB_ASSIGN_OR_RETURN(
      report.test,
      fedlb::Evaluate(*f.host, weights, buffers, Split::kTest, f.test, chunk));
  FEDLB_ASSIGN_OR_RETURN(report.validation,
                         fedlb::Evaluate(*f.host, weights, buffers,
                                         Split::kTrain, f.validation, chunk));
  report.client_accuracy = ClientAccuracies(report.test, f.partition,
                                            f.dataset->labels(Split::kTrain));
  if (!options.export_to.empty()) {
    FEDLB_RETURN_IF_ERROR(WriteSafetensors(
        options.export_to, MakeWeightsFile(*f.model, weights, buffers)));
  }
  return report;
}

// Where the transport leads to other processes, their connection is measured
// and the steps are those of clients here.
absl::StatusOr<std::optional<LinkModel>> FederatedExperiment::MeasureRemote() {
  if (federation_->remote == nullptr) {
    return std::nullopt;
  }
  FEDLB_RETURN_IF_ERROR(Annotate(
      federation_->transport->Open(*federation_->host), "[transport]"));
  absl::StatusOr<LinkModel> link = MeasureLink(*federation_->transport);
  if (!link.ok()) {
    return Annotate(link.status(), "[transport]");
  }
  ExperimentConfig config = federation_->config;
  for (const SectionInfo& section : Sections()) {
    if (section.section == "transport") {
      ConfigTable local;
      local.Set("name", ConfigValue(section.default_component));
      config.components["transport"] = std::move(local);
    }
  }
  FEDLB_RETURN_IF_ERROR(Restart(config));
  return *link;
}

absl::Status FederatedExperiment::Restart(const ExperimentConfig& config) {
  const ComponentRegistry& registry = *federation_->registry;
  Logger& logger = *federation_->logger;
  federation_->transport->Close();
  federation_.reset();
  FEDLB_ASSIGN_OR_RETURN(federation_,
                         Federation::Create(config, registry, logger));
  return absl::OkStatus();
}

absl::StatusOr<DeviceProfile> FederatedExperiment::Profile(
    const ProfileOptions& options) {
  FEDLB_ASSIGN_OR_RETURN(const std::optional<LinkModel> link, MeasureRemote());
  FEDLB_ASSIGN_OR_RETURN(DeviceProfile profile,
                         ProfileDevice(*federation_, options));
  if (link.has_value()) {
    profile.link = *link;
  }
  if (options.noise_rounds == 0) {
    return profile;
  }
  // Training begins from the same state as a run, and not where probes ended.
  Logger& logger = *federation_->logger;
  const ExperimentConfig config = federation_->config;
  FEDLB_RETURN_IF_ERROR(Restart(config));
  absl::StatusOr<NoiseProfile> noise = ProfileNoise(*federation_, options);
  if (!noise.ok() && FailureOf(noise.status()) != Failure::kInterrupted) {
    // What was measured before is good without it.
    logger.Warning(absl::StrCat("the gradient noise was not measured: ",
                                noise.status().message()));
    return profile;
  }
  FEDLB_ASSIGN_OR_RETURN(profile.noise, std::move(noise));
  return profile;
}

absl::StatusOr<ScalarMap> FederatedExperiment::FitMapper() {
  GradientMapper& mapper = *federation_->gradient_mapper;
  FEDLB_RETURN_IF_ERROR(Annotate(mapper.WarmStart(), "[gradient_mapper]"));
  return mapper.Summary();
}

absl::Status FederatedExperiment::SaveMapper(const std::string& path) const {
  const Federation& f = *federation_;
  MapperFile file;
  file.options =
      f.gradient_mapper->FileOptions(f.config.components.at("gradient_mapper"));
  file.layout = f.model->parameter_layout();
  file.state = f.gradient_mapper->SaveState();
  file.notes = {{"model", f.NameOf("model")},
                {"dataset", f.NameOf("dataset")},
                {"lr", absl::StrCat(f.optimizer->base_lr())},
                {"version", HostVersion()}};
  FEDLB_ASSIGN_OR_RETURN(const std::vector<ClientAssignment> cohort,
                         f.Cohort(0));
  int64_t batch_size = 0;
  for (const ClientAssignment& assignment : cohort) {
    batch_size += f.Samples(f.sync_policy->Plan(0), assignment);
  }
  file.notes["batch_size"] = absl::StrCat(batch_size);
  return WriteMapperFile(path, file);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Experiment>> Experiment::Create(
    const ExperimentConfig& config, const ComponentRegistry& registry,
    Logger& logger) {
  FEDLB_ASSIGN_OR_RETURN(std::unique_ptr<Federation> federation,
                         CatchAsStatusOr("experiment", [&] {
                           return Federation::Create(config, registry, logger);
                         }));
  return std::make_unique<FederatedExperiment>(std::move(federation));
}

}  // namespace fedlb
