// What a dataset holds and how a partition deals it out, in numbers.

#ifndef FEDLB_DATA_SUMMARY_H_
#define FEDLB_DATA_SUMMARY_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "fedlb/experiment_config.h"
#include "fedlb/export.h"
#include "fedlb/logger.h"
#include "fedlb/partitioner.h"
#include "fedlb/registry.h"

namespace fedlb {

struct DataSummary {
  std::vector<int64_t> example_shape;
  int64_t num_classes = 0;
  // By class, after limit_train and limit_test; validation examples count as
  // training examples here.
  std::vector<int64_t> train_counts;
  std::vector<int64_t> test_counts;
  int64_t memory_bytes = 0;
  // Over all values of up to 2,000 training examples, as batches hold them.
  double mean = 0;
  double std = 0;
};

// Reads the dataset of `config`; deals nothing out.
FEDLB_API absl::StatusOr<DataSummary> SummariseData(
    const ExperimentConfig& config, const ComponentRegistry& registry,
    Logger& logger);

struct ClientSummary {
  std::vector<int64_t> counts;  // examples by class
  // How the client's distribution p over classes differs from that of all
  // clients' examples together, q: the distance sum |p - q| (which is the earth
  // mover's distance between classes of Y. Zhao et al., "Federated Learning
  // with Non-IID Data", 2018; 0 to 2), and the Jensen-Shannon divergence in
  // bits (0 to 1).
  double emd = 0;
  double js_divergence = 0;
};

struct PartitionSummary {
  std::vector<ClientSummary> clients;
  std::vector<int64_t> counts;  // of all clients together, by class
  int64_t unused_examples = 0;  // dealt to nobody
  // Means over clients, weighted by their examples.
  double mean_emd = 0;
  double mean_js_divergence = 0;
};

// Deals the training examples of `config` out as a run would.
FEDLB_API absl::StatusOr<PartitionSummary> SummarisePartition(
    const ExperimentConfig& config, const ComponentRegistry& registry,
    Logger& logger);

// Of examples that have been dealt out; `labels` are those of the training
// split. Says nothing of unused examples.
FEDLB_API PartitionSummary SummariseDealt(const Partition& partition,
                                          absl::Span<const int64_t> labels,
                                          int64_t num_classes);

// From counts alone, [client][class].
FEDLB_API PartitionSummary
SummariseCounts(std::vector<std::vector<int64_t>> counts);

}  // namespace fedlb

#endif  // FEDLB_DATA_SUMMARY_H_
