// Deals the training examples out to the clients.

#ifndef FEDLB_PARTITIONER_H_
#define FEDLB_PARTITIONER_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "fedlb/component.h"
#include "fedlb/export.h"

namespace fedlb {

// Element k holds the indices of client k's examples.
using Partition = std::vector<std::vector<int64_t>>;

class FEDLB_API Partitioner : public Component {
 public:
  static constexpr char kKind[] = "partitioner";

  // Deals the examples `indices`, whose labels are labels[index], out to
  // `num_clients` clients. No example goes to two clients and every client
  // gets at least one; whether every example is used is up to the rule. The
  // same seed gives the same partition.
  //
  // kInvalidArgument (kConfig): more clients than examples, or options that
  // cannot be met by these labels, with what to change.
  absl::StatusOr<Partition> Deal(absl::Span<const int64_t> indices,
                                 absl::Span<const int64_t> labels,
                                 int64_t num_classes, int64_t num_clients);

 private:
  virtual absl::StatusOr<Partition> DoDeal(absl::Span<const int64_t> indices,
                                           absl::Span<const int64_t> labels,
                                           int64_t num_classes,
                                           int64_t num_clients) = 0;
};

}  // namespace fedlb

#endif  // FEDLB_PARTITIONER_H_
