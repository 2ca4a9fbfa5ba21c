// The sampler `availability`: clients come and go.

#ifndef FEDLB_SAMPLING_AVAILABILITY_H_
#define FEDLB_SAMPLING_AVAILABILITY_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "fedlb/param_schema.h"
#include "fedlb/sampler.h"
#include "sampling/trace.h"

namespace fedlb::sampling {

struct AvailabilityOptions {
  std::vector<std::string> available;
  std::string trace;
  int64_t period = 0;
  double uptime = 0.5;
};

// Draws uniformly among the clients that are available in a round: those that
// the trace names, if there is one, and that are in their part of the day, if
// there are days. A cohort is smaller than asked for where fewer are available,
// and the round fails where none is. With everybody available the cohorts are
// those of `uniform`.
class Availability final : public Sampler {
 public:
  using Options = AvailabilityOptions;
  static constexpr char kName[] = "availability";
  static constexpr char kSummary[] =
      "Clients that a trace or a daily rhythm makes available, all with the "
      "same probability.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Availability>> Create(
      const Options& options, const ComponentContext& context);

 private:
  Availability(const Options& options, uint64_t seed, Trace trace)
      : options_(options), seed_(seed), trace_(std::move(trace)) {}

  bool IsAwake(int64_t client, int64_t round) const;
  absl::StatusOr<std::vector<int64_t>> DoSample(
      const SamplingRequest& request) override;

  const Options options_;
  const uint64_t seed_;
  const Trace trace_;
};

}  // namespace fedlb::sampling

#endif  // FEDLB_SAMPLING_AVAILABILITY_H_
