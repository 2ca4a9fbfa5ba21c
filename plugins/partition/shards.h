// The partitioner `shards`: pieces of the examples in the order of their
// labels.

#ifndef FEDLB_PARTITION_SHARDS_H_
#define FEDLB_PARTITION_SHARDS_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "fedlb/param_schema.h"
#include "fedlb/partitioner.h"

namespace fedlb::partition {

struct ShardsOptions {
  int64_t shards_per_client = 2;
};

// H. B. McMahan et al., "Communication-Efficient Learning of Deep Networks from
// Decentralized Data", AISTATS 2017, section 3: the examples are sorted by
// label, cut into clients * shards_per_client shards, and every client gets
// shards_per_client random ones. Unlike with labels_per_client, a shard may
// span two labels and a client may get two shards of one label.
//
// Shards differ by at most one example where the paper's are equal, so that
// every example is used. Examples of a label are in random order.
class Shards final : public Partitioner {
 public:
  using Options = ShardsOptions;
  static constexpr char kName[] = "shards";
  static constexpr char kSummary[] =
      "Random shards of the examples sorted by label.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Shards>> Create(
      const Options& options, const ComponentContext& context);

 private:
  Shards(const Options& options, uint64_t seed)
      : options_(options), seed_(seed) {}

  absl::StatusOr<Partition> DoDeal(absl::Span<const int64_t> indices,
                                   absl::Span<const int64_t> labels,
                                   int64_t num_classes,
                                   int64_t num_clients) override;

  const Options options_;
  const uint64_t seed_;
};

}  // namespace fedlb::partition

#endif  // FEDLB_PARTITION_SHARDS_H_
