#include "aggregation/krum_choice.h"

#include <algorithm>
#include <compare>
#include <numeric>

namespace fedlb::aggregation {

std::vector<size_t> ChooseByKrum(
    const std::vector<std::vector<double>>& squared_distances,
    const std::vector<size_t>& candidates, int64_t byzantine, int64_t select) {
  const auto count = static_cast<int64_t>(candidates.size());
  const int64_t neighbours =
      std::min(count - 1, std::max<int64_t>(1, count - byzantine - 2));
  struct Score {
    double nearest;
    double all;
    size_t candidate;
    auto operator<=>(const Score&) const = default;
  };
  std::vector<Score> scores;
  std::vector<double> distances;
  for (const size_t candidate : candidates) {
    distances.clear();
    for (const size_t other : candidates) {
      if (other != candidate) {
        distances.push_back(squared_distances[candidate][other]);
      }
    }
    std::sort(distances.begin(), distances.end());
    const auto sum_of = [&distances](int64_t count) {
      return std::accumulate(distances.begin(), distances.begin() + count, 0.0);
    };
    scores.push_back({sum_of(neighbours), sum_of(count - 1), candidate});
  }
  std::sort(scores.begin(), scores.end());
  std::vector<size_t> chosen;
  for (int64_t i = 0; i < std::min(select, count); ++i) {
    chosen.push_back(scores[static_cast<size_t>(i)].candidate);
  }
  return chosen;
}

}  // namespace fedlb::aggregation
