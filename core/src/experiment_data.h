// The data of an experiment: dataset, splits, and the clients' shares.

#ifndef FEDLB_SRC_EXPERIMENT_DATA_H_
#define FEDLB_SRC_EXPERIMENT_DATA_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "fedlb/component.h"
#include "fedlb/dataset.h"
#include "fedlb/experiment_config.h"
#include "fedlb/partitioner.h"
#include "fedlb/registry.h"

namespace fedlb {

struct ExperimentData {
  std::unique_ptr<Dataset> dataset;
  // Indices of examples: of the training split, but for the last.
  std::vector<int64_t> train;
  std::vector<int64_t> validation;
  std::vector<int64_t> test;
};

// What components of `config` are made with before there is a dataset.
ComponentContext MakeContext(const ExperimentConfig& config,
                             const ComponentRegistry& registry,
                             Logger& logger);

// Reads the dataset, splits it, and tells `context` what it holds.
absl::StatusOr<ExperimentData> ReadData(const ExperimentConfig& config,
                                        ComponentContext& context);

// Deals data.train out to the clients.
absl::StatusOr<Partition> DealData(const ExperimentConfig& config,
                                   const ComponentContext& context,
                                   const ExperimentData& data);

}  // namespace fedlb

#endif  // FEDLB_SRC_EXPERIMENT_DATA_H_
