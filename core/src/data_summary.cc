#include "fedlb/data_summary.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include <ATen/core/Tensor.h>

#include "absl/types/span.h"
#include "experiment_data.h"
#include "fedlb/status.h"

namespace fedlb {
namespace {

constexpr size_t kMeasuredExamples = 2000;
// Examples that are in memory at once while they are measured.
constexpr size_t kChunk = 100;

std::vector<int64_t> CountLabels(absl::Span<const int64_t> indices,
                                 absl::Span<const int64_t> labels,
                                 int64_t num_classes) {
  std::vector<int64_t> counts(static_cast<size_t>(num_classes));
  for (const int64_t index : indices) {
    ++counts[static_cast<size_t>(labels[static_cast<size_t>(index)])];
  }
  return counts;
}

int64_t Sum(const std::vector<int64_t>& counts) {
  return std::accumulate(counts.begin(), counts.end(), int64_t{0});
}

// p log2(p / m), which is 0 for p = 0.
double Term(double p, double m) { return p > 0 ? p * std::log2(p / m) : 0; }

}  // namespace

absl::StatusOr<DataSummary> SummariseData(const ExperimentConfig& config,
                                          const ComponentRegistry& registry,
                                          Logger& logger) {
  ComponentContext context = MakeContext(config, registry, logger);
  FEDLB_ASSIGN_OR_RETURN(const ExperimentData data, ReadData(config, context));
  const Dataset& dataset = *data.dataset;
  DataSummary summary;
  summary.example_shape = dataset.example_shape();
  summary.num_classes = dataset.num_classes();
  summary.memory_bytes = dataset.memory_bytes();
  std::vector<int64_t> train = data.train;
  train.insert(train.end(), data.validation.begin(), data.validation.end());
  summary.train_counts =
      CountLabels(train, dataset.labels(Split::kTrain), summary.num_classes);
  summary.test_counts =
      CountLabels(data.test, dataset.labels(Split::kTest), summary.num_classes);

  std::sort(train.begin(), train.end());
  const size_t measured = std::min(train.size(), kMeasuredExamples);
  std::vector<int64_t> chosen;
  for (size_t i = 0; i < measured; ++i) {
    chosen.push_back(train[i * train.size() / measured]);
  }
  double sum = 0;
  double squares = 0;
  double count = 0;
  for (size_t begin = 0; begin < chosen.size(); begin += kChunk) {
    FEDLB_ASSIGN_OR_RETURN(
        const Batch batch,
        dataset.Load(Split::kTrain,
                     absl::MakeConstSpan(chosen).subspan(begin, kChunk),
                     nullptr));
    const at::Tensor values = batch.inputs.to(at::kDouble);
    sum += values.sum().item<double>();
    squares += values.square().sum().item<double>();
    count += static_cast<double>(values.numel());
  }
  summary.mean = sum / count;
  summary.std = std::sqrt(
      std::max(0.0, squares / count - summary.mean * summary.mean));
  return summary;
}

absl::StatusOr<PartitionSummary> SummarisePartition(
    const ExperimentConfig& config, const ComponentRegistry& registry,
    Logger& logger) {
  ComponentContext context = MakeContext(config, registry, logger);
  FEDLB_ASSIGN_OR_RETURN(const ExperimentData data, ReadData(config, context));
  FEDLB_ASSIGN_OR_RETURN(const Partition partition,
                         DealData(config, context, data));
  PartitionSummary summary = SummariseDealt(
      partition, data.dataset->labels(Split::kTrain), context.num_classes);
  summary.unused_examples =
      static_cast<int64_t>(data.train.size()) - Sum(summary.counts);
  return summary;
}

PartitionSummary SummariseDealt(const Partition& partition,
                                absl::Span<const int64_t> labels,
                                int64_t num_classes) {
  std::vector<std::vector<int64_t>> counts;
  for (const std::vector<int64_t>& examples : partition) {
    counts.push_back(CountLabels(examples, labels, num_classes));
  }
  return SummariseCounts(std::move(counts));
}

PartitionSummary SummariseCounts(std::vector<std::vector<int64_t>> counts) {
  PartitionSummary summary;
  if (counts.empty()) {
    return summary;
  }
  const size_t classes = counts.front().size();
  summary.counts.resize(classes);
  for (const std::vector<int64_t>& client : counts) {
    for (size_t c = 0; c < classes; ++c) {
      summary.counts[c] += client[c];
    }
  }
  const auto total = static_cast<double>(Sum(summary.counts));
  for (std::vector<int64_t>& client : counts) {
    const auto held = static_cast<double>(Sum(client));
    ClientSummary one;
    for (size_t c = 0; c < classes && held > 0; ++c) {
      const double p = static_cast<double>(client[c]) / held;
      const double q = static_cast<double>(summary.counts[c]) / total;
      one.emd += std::abs(p - q);
      const double middle = (p + q) / 2;
      one.js_divergence += (Term(p, middle) + Term(q, middle)) / 2;
    }
    summary.mean_emd += one.emd * held / total;
    summary.mean_js_divergence += one.js_divergence * held / total;
    one.counts = std::move(client);
    summary.clients.push_back(std::move(one));
  }
  return summary;
}

}  // namespace fedlb
