// The partitioner `quantity`: clients of unequal size, alike in distribution.

#ifndef FEDLB_PARTITION_QUANTITY_H_
#define FEDLB_PARTITION_QUANTITY_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "fedlb/param_schema.h"
#include "fedlb/partitioner.h"

namespace fedlb::partition {

struct QuantityOptions {
  double sigma = 1;
  int64_t min_examples = 1;
};

// Client k gets min_examples, and of the rest a share proportional to
// exp(sigma z_k) with z_k standard normal, rounded by less than one example.
// Every example is used, and which ones a client gets is random.
class Quantity final : public Partitioner {
 public:
  using Options = QuantityOptions;
  static constexpr char kName[] = "quantity";
  static constexpr char kSummary[] =
      "Random shares whose sizes are lognormal, alike in distribution.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Quantity>> Create(
      const Options& options, const ComponentContext& context);

 private:
  Quantity(const Options& options, uint64_t seed)
      : options_(options), seed_(seed) {}

  absl::StatusOr<Partition> DoDeal(absl::Span<const int64_t> indices,
                                   absl::Span<const int64_t> labels,
                                   int64_t num_classes,
                                   int64_t num_clients) override;

  const Options options_;
  const uint64_t seed_;
};

}  // namespace fedlb::partition

#endif  // FEDLB_PARTITION_QUANTITY_H_
