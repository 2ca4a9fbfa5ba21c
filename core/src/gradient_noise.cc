#include "gradient_noise.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace fedlb {

NoiseEstimate NoiseOfTwoBatches(double small_squared_norm, double small_batch,
                                double large_squared_norm, double large_batch) {
  return {.signal = (large_batch * large_squared_norm -
                     small_batch * small_squared_norm) /
                    (large_batch - small_batch),
          .variance = (small_squared_norm - large_squared_norm) /
                      (1 / small_batch - 1 / large_batch)};
}

NoiseEstimate NoiseOfWorkers(double mean_squared_norm, double squared_mean_norm,
                             double num_examples, int64_t n) {
  // E sum_k (b_k / B) |g_k|^2 = |G|^2 + n tr(Sigma) / B, and
  // E |mean|^2 = |G|^2 + tr(Sigma) / B.
  const double per_batch =
      (mean_squared_norm - squared_mean_norm) / static_cast<double>(n - 1);
  return {.signal = squared_mean_norm - per_batch,
          .variance = num_examples * per_batch};
}

void NoiseObserver::Begin(const TensorLayout& layout) {
  count_ = 0;
  num_examples_ = 0;
  weighted_squares_.assign(layout.size(), 0);
}

void NoiseObserver::Add(int64_t /*slot*/, const Update& update) {
  const TensorList& gradient = update.parameters();
  const auto weight = static_cast<double>(update.num_examples);
  for (size_t i = 0; i < gradient.size(); ++i) {
    weighted_squares_[i] += weight * SquaredNorm({gradient[i]});
  }
  num_examples_ += weight;
  ++count_;
}

std::vector<NoiseEstimate> NoiseObserver::Estimate(
    const TensorList& mean) const {
  std::vector<NoiseEstimate> estimates;
  estimates.reserve(mean.size());
  for (size_t i = 0; i < mean.size(); ++i) {
    estimates.push_back(NoiseOfWorkers(weighted_squares_[i] / num_examples_,
                                       SquaredNorm({mean[i]}), num_examples_,
                                       count_));
  }
  return estimates;
}

double NoiseObserver::Norm() const {
  return std::sqrt(
      std::accumulate(weighted_squares_.begin(), weighted_squares_.end(), 0.0) /
      num_examples_);
}

NoiseEstimate Sum(const std::vector<NoiseEstimate>& estimates) {
  NoiseEstimate sum;
  for (const NoiseEstimate& estimate : estimates) {
    sum.signal += estimate.signal;
    sum.variance += estimate.variance;
  }
  return sum;
}

void NoiseAverage::Add(const NoiseEstimate& estimate) {
  weight_ = smoothing_ * weight_ + (1 - smoothing_);
  signal_ = smoothing_ * signal_ + (1 - smoothing_) * estimate.signal;
  variance_ = smoothing_ * variance_ + (1 - smoothing_) * estimate.variance;
}

double NoiseAverage::noise_scale() const {
  return weight_ > 0 && signal_ > 0 ? std::max(0.0, variance_) / signal_
                                    : std::numeric_limits<double>::quiet_NaN();
}

ComponentState NoiseAverage::SaveState() const {
  return {.scalars = {{"weight", weight_},
                      {"signal", signal_},
                      {"variance", variance_}}};
}

absl::Status NoiseAverage::LoadState(const ComponentState& state) {
  for (const auto& [name, value] :
       {std::pair{"weight", &weight_}, std::pair{"signal", &signal_},
        std::pair{"variance", &variance_}}) {
    const auto found = state.scalars.find(name);
    if (found == state.scalars.end()) {
      return absl::InvalidArgumentError("no state of a noise average");
    }
    *value = found->second;
  }
  return absl::OkStatus();
}

}  // namespace fedlb
