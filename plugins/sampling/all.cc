#include "sampling/all.h"

#include <algorithm>

namespace fedlb::sampling {

ParamSchema<AllOptions> All::Schema() { return {}; }

absl::StatusOr<std::unique_ptr<All>> All::Create(
    const Options& /*options*/, const ComponentContext& /*context*/) {
  return std::make_unique<All>();
}

absl::StatusOr<std::vector<int64_t>> All::DoSample(
    const SamplingRequest& request) {
  const auto num_clients = static_cast<int64_t>(request.num_examples.size());
  const int64_t first =
      request.round % num_clients * request.cohort_size % num_clients;
  std::vector<int64_t> cohort;
  for (int64_t i = 0; i < request.cohort_size; ++i) {
    cohort.push_back((first + i) % num_clients);
  }
  std::sort(cohort.begin(), cohort.end());
  return cohort;
}

}  // namespace fedlb::sampling
