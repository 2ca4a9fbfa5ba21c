// The sampler `all`: every client, or all in turn.

#ifndef FEDLB_SAMPLING_ALL_H_
#define FEDLB_SAMPLING_ALL_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "fedlb/param_schema.h"
#include "fedlb/sampler.h"

namespace fedlb::sampling {

struct AllOptions {};

// Nothing is random: with cohorts of c out of N clients, round r has those with
// the numbers r c, r c + 1, ... (mod N), in ascending order. After N rounds
// every client has taken part c times.
class All final : public Sampler {
 public:
  using Options = AllOptions;
  static constexpr char kName[] = "all";
  static constexpr char kSummary[] =
      "Every client in every round; smaller cohorts take turns in the order "
      "of their numbers.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<All>> Create(
      const Options& options, const ComponentContext& context);

 private:
  absl::StatusOr<std::vector<int64_t>> DoSample(
      const SamplingRequest& request) override;
};

}  // namespace fedlb::sampling

#endif  // FEDLB_SAMPLING_ALL_H_
