// The partitioner `labels_per_client`: every client knows k classes only.

#ifndef FEDLB_PARTITION_LABELS_PER_CLIENT_H_
#define FEDLB_PARTITION_LABELS_PER_CLIENT_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "fedlb/logger.h"
#include "fedlb/param_schema.h"
#include "fedlb/partitioner.h"

namespace fedlb::partition {

enum class LabelAssignment { kRandom, kCyclic };

struct LabelsPerClientOptions {
  int64_t labels_per_client = 2;
  LabelAssignment assignment = LabelAssignment::kRandom;
};

// Each client gets `labels_per_client` distinct classes, and each class is
// split among its clients in random order, into parts that differ by at most
// one example. The numbers of clients per class differ by at most one too, so
// classes stay without a client only where clients * labels_per_client is less
// than the number of classes; those are left out, with a warning. Only classes
// that occur count.
//
// `cyclic` with clients * labels_per_client = classes is the split of the
// large-batch paper (1 label per client for CIFAR-10, 10 for CIFAR-100 and
// CalTech-101): blocks of consecutive classes.
class LabelsPerClient final : public Partitioner {
 public:
  using Options = LabelsPerClientOptions;
  static constexpr char kName[] = "labels_per_client";
  static constexpr char kSummary[] =
      "A fixed number of classes for each client.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<LabelsPerClient>> Create(
      const Options& options, const ComponentContext& context);

 private:
  LabelsPerClient(const Options& options, const ComponentContext& context)
      : options_(options), seed_(context.seed), logger_(*context.logger) {}

  absl::StatusOr<Partition> DoDeal(absl::Span<const int64_t> indices,
                                   absl::Span<const int64_t> labels,
                                   int64_t num_classes,
                                   int64_t num_clients) override;

  // The clients of each of `num_labels` labels.
  std::vector<std::vector<int64_t>> AssignOwners(int64_t num_labels,
                                                 int64_t num_clients) const;

  const Options options_;
  const uint64_t seed_;
  Logger& logger_;
};

}  // namespace fedlb::partition

#endif  // FEDLB_PARTITION_LABELS_PER_CLIENT_H_
