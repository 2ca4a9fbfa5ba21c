// Everything a run is made of, put together from its configuration.

#ifndef FEDLB_FEDERATION_H_
#define FEDLB_FEDERATION_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/aggregator.h"
#include "fedlb/batch_policy.h"
#include "fedlb/client_algorithm.h"
#include "fedlb/compressor.h"
#include "fedlb/critical_phase.h"
#include "fedlb/dataset.h"
#include "fedlb/experiment.h"
#include "fedlb/experiment_config.h"
#include "fedlb/gradient_mapper.h"
#include "fedlb/lr_schedule.h"
#include "fedlb/optimizer.h"
#include "fedlb/partitioner.h"
#include "fedlb/registry.h"
#include "fedlb/remote_transport.h"
#include "fedlb/sampler.h"
#include "fedlb/sync_policy.h"
#include "fedlb/transport.h"
#include "local_client_host.h"
#include "local_client_worker.h"
#include "virtual_clock.h"

namespace fedlb {

// Members are destroyed in reverse order: threads before what they use.
struct Federation {
  ExperimentConfig config;
  const ComponentRegistry* registry = nullptr;
  Logger* logger = nullptr;
  ComponentContext context;

  std::unique_ptr<Dataset> dataset;
  std::vector<int64_t> validation;  // indices of the train split
  std::vector<int64_t> test;        // indices of the test split
  Partition partition;
  std::vector<int64_t> num_examples;  // of each client

  VirtualClock clock;
  std::unique_ptr<Sampler> sampler;
  std::unique_ptr<SyncPolicy> sync_policy;
  std::unique_ptr<BatchPolicy> batch_policy;
  std::unique_ptr<LrSchedule> lr_schedule;
  std::unique_ptr<ClientAlgorithm> client_algorithm;
  std::unique_ptr<Compressor> compressor;
  std::unique_ptr<Aggregator> aggregator;
  std::unique_ptr<GradientMapper> gradient_mapper;
  // [optimizer] takes the aggregate of gradients; [server_optimizer] takes
  // pseudo-gradients, minus the mean delta, and is null where no round has any.
  std::unique_ptr<Optimizer> optimizer;
  std::unique_ptr<Optimizer> server_optimizer;
  std::unique_ptr<Model> model;  // for layout and initial weights

  ClientEnvironment environment;
  std::unique_ptr<LocalClientHost> host;
  std::unique_ptr<Transport> transport;
  RemoteTransport* remote = nullptr;  // the transport, where clients are elsewhere

  FEDLB_API static absl::StatusOr<std::unique_ptr<Federation>> Create(
      const ExperimentConfig& config, const ComponentRegistry& registry,
      Logger& logger);

  bool maps_on_server() const { return config.mapper_use.scope == "server"; }

  // What the configuration names in a component's section; "" without a name.
  std::string NameOf(const char* section) const;

  // Who takes part in `round`, in the order of addition.
  absl::StatusOr<std::vector<ClientAssignment>> Cohort(int64_t round) const;
  // Local steps of one client's round, and the examples whose gradient it takes.
  int64_t LocalSteps(const RoundWork& work,
                     const ClientAssignment& assignment) const;
  int64_t Samples(const RoundWork& work,
                  const ClientAssignment& assignment) const;
  // The rate of a round's optimizer steps: base rate, scaling rule, schedule.
  double LearningRate(int64_t round, const RoundWork& work,
                      const std::vector<ClientAssignment>& cohort) const;
  // What a client sends in a round: encoded parameters, and buffers. A codec
  // that takes fewer bytes for one update than for another is measured on zeros.
  absl::StatusOr<int64_t> UploadBytes() const;

 private:
  absl::Status CheckTime() const;
  void WarnAboutPhases() const;
};

}  // namespace fedlb

#endif  // FEDLB_FEDERATION_H_
