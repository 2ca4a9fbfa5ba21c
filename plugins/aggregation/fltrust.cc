#include "aggregation/fltrust.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "absl/strings/str_cat.h"
#include "fedlb/status.h"

namespace fedlb::aggregation {
namespace {

constexpr double kLargestRatio = 1e7;

}  // namespace

ParamSchema<FlTrustOptions> FlTrust::Schema() {
  return ParamSchema<Options>().Add(
      "trusted_client", &Options::trusted_client,
      "The client whose examples the server trusts; its update is the measure "
      "of the others and does not count itself.",
      AtLeast(0));
}

absl::StatusOr<std::unique_ptr<FlTrust>> FlTrust::Create(
    const Options& options, const ComponentContext& /*context*/) {
  return std::unique_ptr<FlTrust>(new FlTrust(options));
}

size_t FlTrust::FindTrusted(const std::vector<UpdateFacts>& updates) const {
  const auto found = std::find_if(
      updates.begin(), updates.end(), [this](const UpdateFacts& update) {
        return update.client == options_.trusted_client;
      });
  return static_cast<size_t>(found - updates.begin());
}

std::vector<RowPair> FlTrust::NeededDistances(
    const std::vector<UpdateFacts>& updates) const {
  const size_t trusted = FindTrusted(updates);
  std::vector<RowPair> pairs;
  for (size_t k = 0; k < updates.size() && trusted < updates.size(); ++k) {
    if (k != trusted) {
      pairs.emplace_back(std::min(k, trusted), std::max(k, trusted));
    }
  }
  return pairs;
}

absl::StatusOr<RowCombination> FlTrust::DoChoose(
    const std::vector<UpdateFacts>& updates,
    const PairDistances& squared_distances) const {
  const size_t trusted = FindTrusted(updates);
  if (trusted == updates.size()) {
    return DeadlineError(absl::StrCat(
        "fltrust: no update of the trusted client ", options_.trusted_client,
        " in this round; have it take part in every round, with sampler all "
        "or a cohort of all clients"));
  }
  const double own = updates[trusted].squared_norm;
  RowCombination sum;
  double trust = 0;
  for (size_t k = 0; k < updates.size(); ++k) {
    const double other = updates[k].squared_norm;
    if (k == trusted || !(own > 0) || !(other > 0)) {
      continue;
    }
    // Of lengths further apart, rounding decides over the angle.
    const double ratio = std::sqrt(own / other);
    if (!(ratio < kLargestRatio && 1 / ratio < kLargestRatio)) {
      continue;
    }
    // |a - b|^2 = |a|^2 + |b|^2 - 2 |a| |b| cos
    const double cosine =
        std::min(1.0, (own + other - squared_distances[trusted][k]) /
                          (2 * std::sqrt(own) * std::sqrt(other)));
    if (cosine > 0) {
      sum.rows.push_back(k);
      sum.weights.push_back(cosine * ratio);
      trust += cosine;
    }
  }
  sum.divisor = trust > 0 ? trust : 1;
  return sum;
}

}  // namespace fedlb::aggregation
