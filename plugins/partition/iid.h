// The partitioner `iid`: equal shares of a shuffled deck.

#ifndef FEDLB_PARTITION_IID_H_
#define FEDLB_PARTITION_IID_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "fedlb/param_schema.h"
#include "fedlb/partitioner.h"

namespace fedlb::partition {

struct IidOptions {};

// Every example is used; shares differ by at most one example.
class Iid final : public Partitioner {
 public:
  using Options = IidOptions;
  static constexpr char kName[] = "iid";
  static constexpr char kSummary[] =
      "Random shares of equal size, alike in distribution.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Iid>> Create(
      const Options& options, const ComponentContext& context);

 private:
  explicit Iid(uint64_t seed) : seed_(seed) {}

  absl::StatusOr<Partition> DoDeal(absl::Span<const int64_t> indices,
                                   absl::Span<const int64_t> labels,
                                   int64_t num_classes,
                                   int64_t num_clients) override;

  const uint64_t seed_;
};

}  // namespace fedlb::partition

#endif  // FEDLB_PARTITION_IID_H_
