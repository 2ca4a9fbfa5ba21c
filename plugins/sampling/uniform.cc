#include "sampling/uniform.h"

#include <algorithm>
#include <numeric>

#include "fedlb/random.h"

namespace fedlb::sampling {

ParamSchema<UniformOptions> Uniform::Schema() { return {}; }

absl::StatusOr<std::unique_ptr<Uniform>> Uniform::Create(
    const Options& /*options*/, const ComponentContext& context) {
  return std::unique_ptr<Uniform>(new Uniform(context.seed));
}

absl::StatusOr<std::vector<int64_t>> Uniform::DoSample(
    const SamplingRequest& request) {
  const auto num_clients = static_cast<int64_t>(request.num_examples.size());
  if (request.cohort_size == num_clients) {
    std::vector<int64_t> everyone(request.num_examples.size());
    std::iota(everyone.begin(), everyone.end(), 0);
    return everyone;
  }
  RandomStream stream(
      {.seed = seed_, .purpose = "cohort", .round = request.round});
  std::vector<int64_t> cohort =
      stream.SampleWithoutReplacement(num_clients, request.cohort_size);
  std::sort(cohort.begin(), cohort.end());
  return cohort;
}

}  // namespace fedlb::sampling
