// The sampler `weighted`: clients with more examples come more often.

#ifndef FEDLB_SAMPLING_WEIGHTED_H_
#define FEDLB_SAMPLING_WEIGHTED_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "fedlb/param_schema.h"
#include "fedlb/sampler.h"

namespace fedlb::sampling {

struct WeightedOptions {};

// Clients are drawn one after the other without replacement, each time with
// probabilities proportional to the examples of those that are left. Done with
// one key per client, the smallest of which win: P. S. Efraimidis and
// P. G. Spirakis, "Weighted random sampling with a reservoir", Information
// Processing Letters 97, 2006, with the exponential -log(u) / w for their
// u^(1/w), whose order is the reverse and which does not underflow.
//
// Together with a mean by examples, examples count twice: aggregator.weighting
// = "uniform" is the unbiased companion for small cohorts.
class Weighted final : public Sampler {
 public:
  using Options = WeightedOptions;
  static constexpr char kName[] = "weighted";
  static constexpr char kSummary[] =
      "Distinct clients, drawn in proportion to their examples; goes with "
      "aggregator.weighting = \"uniform\".";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Weighted>> Create(
      const Options& options, const ComponentContext& context);

 private:
  explicit Weighted(uint64_t seed) : seed_(seed) {}

  absl::StatusOr<std::vector<int64_t>> DoSample(
      const SamplingRequest& request) override;

  const uint64_t seed_;
};

}  // namespace fedlb::sampling

#endif  // FEDLB_SAMPLING_WEIGHTED_H_
