// The sampler `uniform`: every cohort is equally likely.

#ifndef FEDLB_SAMPLING_UNIFORM_H_
#define FEDLB_SAMPLING_UNIFORM_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "fedlb/param_schema.h"
#include "fedlb/sampler.h"

namespace fedlb::sampling {

struct UniformOptions {};

// The cohort is in ascending order: updates are added in the order of the
// cohort, and a sum over all clients must not round differently from round to
// round because of the sampler.
class Uniform final : public Sampler {
 public:
  using Options = UniformOptions;
  static constexpr char kName[] = "uniform";
  static constexpr char kSummary[] =
      "Distinct clients, all with the same probability.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Uniform>> Create(
      const Options& options, const ComponentContext& context);

 private:
  explicit Uniform(uint64_t seed) : seed_(seed) {}

  absl::StatusOr<std::vector<int64_t>> DoSample(
      const SamplingRequest& request) override;

  const uint64_t seed_;
};

}  // namespace fedlb::sampling

#endif  // FEDLB_SAMPLING_UNIFORM_H_
