#include "sampling/weighted.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

#include "fedlb/random.h"

namespace fedlb::sampling {

ParamSchema<WeightedOptions> Weighted::Schema() { return {}; }

absl::StatusOr<std::unique_ptr<Weighted>> Weighted::Create(
    const Options& /*options*/, const ComponentContext& context) {
  return std::unique_ptr<Weighted>(new Weighted(context.seed));
}

absl::StatusOr<std::vector<int64_t>> Weighted::DoSample(
    const SamplingRequest& request) {
  RandomStream stream(
      {.seed = seed_, .purpose = "cohort_weighted", .round = request.round});
  std::vector<std::pair<double, int64_t>> keys;
  keys.reserve(request.num_examples.size());
  for (const int64_t examples : request.num_examples) {
    // 1 - u is never 0.
    const double key =
        -std::log(1 - stream.Uniform()) / static_cast<double>(examples);
    keys.emplace_back(key, static_cast<int64_t>(keys.size()));
  }
  const auto end = keys.begin() + request.cohort_size;
  std::nth_element(keys.begin(), end - 1, keys.end());
  std::vector<int64_t> cohort;
  for (auto key = keys.begin(); key != end; ++key) {
    cohort.push_back(key->second);
  }
  std::sort(cohort.begin(), cohort.end());
  return cohort;
}

}  // namespace fedlb::sampling
