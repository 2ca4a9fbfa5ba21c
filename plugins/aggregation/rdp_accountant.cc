#include "aggregation/rdp_accountant.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

namespace fedlb::aggregation {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// log(exp(a) + exp(b)), and log(exp(a) - exp(b)) for a >= b.
double LogAdd(double a, double b) {
  const auto [low, high] = std::minmax(a, b);
  return std::isinf(low) ? high : high + std::log1p(std::exp(low - high));
}
double LogSubtract(double a, double b) {
  return std::isinf(b) ? a : a + std::log1p(-std::exp(b - a));
}

// log(erfc(x)), also where erfc(x) is 0 in double.
double LogErfc(double x) {
  constexpr double kFar = 25;
  if (x < kFar) {
    return std::log(std::erfc(x));
  }
  const double square = x * x;
  return -square - std::log(x * std::sqrt(std::numbers::pi)) +
         std::log1p(-0.5 / square + 0.75 / (square * square));
}

// log of A_alpha, section 3.3.
double LogMomentOfInteger(double q, double sigma, int64_t alpha) {
  double log_sum = -kInfinity;
  const auto order = static_cast<double>(alpha);
  for (int64_t k = 0; k <= alpha; ++k) {
    const auto i = static_cast<double>(k);
    const double log_binomial = std::lgamma(order + 1) - std::lgamma(i + 1) -
                                std::lgamma(order - i + 1);
    log_sum = LogAdd(log_sum, log_binomial + i * std::log(q) +
                                  (order - i) * std::log1p(-q) +
                                  (i * i - i) / (2 * sigma * sigma));
  }
  return log_sum;
}

// The same for any alpha > 1, section 3.4: two series that alternate in sign
// once the binomial coefficients do.
double LogMoment(double q, double sigma, double alpha) {
  const double log_q = std::log(q);
  const double log_rest = std::log1p(-q);
  const double z = sigma * sigma * std::log(1 / q - 1) + 0.5;
  double first = -kInfinity;
  double second = -kInfinity;
  double binomial = 1;
  for (int64_t k = 0; k < 10'000; ++k) {
    const auto i = static_cast<double>(k);
    const double j = alpha - i;
    const double log_binomial = std::log(std::abs(binomial));
    const double scale = std::numbers::sqrt2 * sigma;
    const double term = log_binomial + i * log_q + j * log_rest +
                        (i * i - i) / (2 * sigma * sigma) + std::log(0.5) +
                        LogErfc((i - z) / scale);
    const double mirrored = log_binomial + j * log_q + i * log_rest +
                            (j * j - j) / (2 * sigma * sigma) + std::log(0.5) +
                            LogErfc((z - j) / scale);
    first = binomial > 0 ? LogAdd(first, term) : LogSubtract(first, term);
    second =
        binomial > 0 ? LogAdd(second, mirrored) : LogSubtract(second, mirrored);
    if (k > 0 && std::max(term, mirrored) < -30) {
      break;
    }
    binomial *= (alpha - i) / (i + 1);
  }
  return LogAdd(first, second);
}

// Rényi divergence of order alpha of one round.
double RdpOf(double q, double sigma, double alpha) {
  if (q == 0) {
    return 0;
  }
  if (q == 1) {
    return alpha / (2 * sigma * sigma);
  }
  const double rounded = std::round(alpha);
  const double log_moment =
      rounded == alpha
          ? LogMomentOfInteger(q, sigma, static_cast<int64_t>(alpha))
          : LogMoment(q, sigma, alpha);
  return log_moment / (alpha - 1);
}

}  // namespace

double EpsilonOf(double noise_multiplier, double sampling_rate, int64_t rounds,
                 double delta) {
  if (rounds == 0) {
    return 0;
  }
  if (!(noise_multiplier > 0)) {
    return kInfinity;
  }
  std::vector<double> orders;
  for (int tenths = 11; tenths < 110; ++tenths) {
    orders.push_back(tenths % 10 == 0 ? tenths / 10 : tenths / 10.0);
  }
  for (int order = 11; order < 64; ++order) {
    orders.push_back(order);
  }
  double best = kInfinity;
  for (const double alpha : orders) {
    const double rdp = static_cast<double>(rounds) *
                       RdpOf(sampling_rate, noise_multiplier, alpha);
    const double epsilon = rdp -
                           (std::log(delta) + std::log(alpha)) / (alpha - 1) +
                           std::log((alpha - 1) / alpha);
    if (!std::isnan(epsilon)) {
      best = std::min(best, epsilon);
    }
  }
  return std::max(best, 0.0);
}

}  // namespace fedlb::aggregation
