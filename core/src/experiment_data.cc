#include "experiment_data.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <utility>

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

at::ScalarType DtypeOf(const std::string& precision) {
  // Under bf16 only the operations are cast; weights stay in float.
  return precision == "fp64" ? at::kDouble : at::kFloat;
}

}  // namespace

ComponentContext MakeContext(const ExperimentConfig& config,
                             const ComponentRegistry& registry,
                             Logger& logger) {
  ComponentContext context;
  context.seed = static_cast<uint64_t>(config.run.seed);
  context.dtype = DtypeOf(config.run.precision);
  context.num_clients = config.federation.clients;
  context.num_rounds = config.run.rounds;
  context.registry = &registry;
  context.logger = &logger;
  return context;
}

absl::StatusOr<ExperimentData> ReadData(const ExperimentConfig& config,
                                        ComponentContext& context) {
  ExperimentData data;
  FEDLB_ASSIGN_OR_RETURN(
      data.dataset, context.registry->Create<Dataset>(
                        config.components.at("dataset"), context));
  context.example_shape = data.dataset->example_shape();
  context.num_classes = data.dataset->num_classes();
  const DatasetUse& use = config.dataset_use;
  data.train = FirstIndices(data.dataset->size(Split::kTrain), use.limit_train);
  data.test = FirstIndices(data.dataset->size(Split::kTest), use.limit_test);
  data.validation =
      TakeValidation(context.seed, use.validation_fraction, data.train);
  return data;
}

absl::StatusOr<Partition> DealData(const ExperimentConfig& config,
                                   const ComponentContext& context,
                                   const ExperimentData& data) {
  FEDLB_ASSIGN_OR_RETURN(
      const std::unique_ptr<Partitioner> partitioner,
      context.registry->Create<Partitioner>(
          config.components.at("partitioner"), context));
  return partitioner->Deal(data.train, data.dataset->labels(Split::kTrain),
                           context.num_classes, config.federation.clients);
}

}  // namespace fedlb
