#include "report/density.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <utility>

namespace fedlb {
namespace {

constexpr size_t kGridPoints = 401;
constexpr size_t kMaxDifferentValues = 4096;
// Beyond, a kernel adds less than 1e-8 of its height.
constexpr double kKernelReach = 6;
constexpr double kMargin = 3;

// The values with how often each occurs.
using Weighted = std::vector<std::pair<double, double>>;

Weighted CountEqual(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  Weighted counts;
  for (const double value : values) {
    if (counts.empty() || counts.back().first != value) {
      counts.emplace_back(value, 0);
    }
    counts.back().second += 1;
  }
  return counts;
}

Weighted Binned(const Weighted& counts) {
  const double low = counts.front().first;
  const double width = (counts.back().first - low) /
                       static_cast<double>(kMaxDifferentValues - 1);
  Weighted bins;
  for (size_t i = 0; i < kMaxDifferentValues; ++i) {
    bins.emplace_back(low + width * static_cast<double>(i), 0);
  }
  for (const auto& [value, count] : counts) {
    const double place = (value - low) / width;
    const auto left =
        std::min(static_cast<size_t>(place), kMaxDifferentValues - 2);
    const double share = place - static_cast<double>(left);
    bins[left].second += count * (1 - share);
    bins[left + 1].second += count * share;
  }
  return bins;
}

}  // namespace

double ScottBandwidth(const std::vector<double>& values) {
  if (values.size() < 2) {
    return 0;
  }
  const auto n = static_cast<double>(values.size());
  // Around the first value, so that equal values have no spread at all.
  const double origin = values.front();
  double sum = 0;
  double squares = 0;
  for (const double value : values) {
    sum += value - origin;
  }
  const double mean = sum / n;
  for (const double value : values) {
    squares += (value - origin - mean) * (value - origin - mean);
  }
  return std::sqrt(squares / (n - 1)) * std::pow(n, -0.2);
}

Density EstimateDensity(std::vector<double> values) {
  const double h = ScottBandwidth(values);
  if (!(h > 0) || !std::isfinite(h)) {
    return {};
  }
  const auto n = static_cast<double>(values.size());
  Weighted counts = CountEqual(std::move(values));
  const double low = counts.front().first - kMargin * h;
  const double high = counts.back().first + kMargin * h;
  if (counts.size() > kMaxDifferentValues) {
    counts = Binned(counts);
  }
  const double factor = 1 / (n * h * std::sqrt(2 * std::numbers::pi));
  Density density;
  for (size_t i = 0; i < kGridPoints; ++i) {
    const double x = low + (high - low) * static_cast<double>(i) /
                               static_cast<double>(kGridPoints - 1);
    double sum = 0;
    for (auto value =
             std::lower_bound(counts.begin(), counts.end(),
                              std::make_pair(x - kKernelReach * h, 0.0));
         value != counts.end() && value->first <= x + kKernelReach * h;
         ++value) {
      const double u = (x - value->first) / h;
      sum += value->second * std::exp(-u * u / 2);
    }
    density.x.push_back(x);
    density.y.push_back(factor * sum);
  }
  return density;
}

}  // namespace fedlb
