#include "gradient_noise.h"

#include <cmath>
#include <vector>

#include <ATen/ops/zeros.h>

#include "fedlb/random.h"
#include "gtest/gtest.h"
#include "profile/noise_probe.h"

namespace fedlb {
namespace {

constexpr int kDimension = 6;

// Mean and standard error of what is added.
class Sample {
 public:
  void Add(double value) {
    ++count_;
    const double delta = value - mean_;
    mean_ += delta / count_;
    squares_ += delta * (value - mean_);
  }
  // How many standard errors the mean is from `expected`.
  double Distance(double expected) const {
    return std::abs(mean_ - expected) /
           std::sqrt(squares_ / (count_ - 1) / count_);
  }

 private:
  double count_ = 0;
  double mean_ = 0;
  double squares_ = 0;
};

// Linear regression y = x . w* + e with x ~ N(0, I) and e ~ N(0, s^2), loss
// (x . w - y)^2 / 2 at w = w* + d. The gradient of an example is
// x (x . d - e), so that G = d and
//   tr(Sigma) = E |x|^2 (x . d - e)^2 - |d|^2
//             = (D + 2) |d|^2 + D s^2 - |d|^2 = (D + 1) |d|^2 + D s^2.
class Regression {
 public:
  explicit Regression(uint64_t seed) : random_({.seed = seed}) {}

  static constexpr double kNoise = 0.7;
  static double Offset(int i) { return 0.1 * (i + 1); }
  static double Signal() {
    double sum = 0;
    for (int i = 0; i < kDimension; ++i) {
      sum += Offset(i) * Offset(i);
    }
    return sum;
  }
  static double Variance() {
    return (kDimension + 1) * Signal() + kDimension * kNoise * kNoise;
  }

  // The mean gradient of a batch; the true one is d + shift.
  at::Tensor Gradient(int64_t batch_size, double shift = 0) {
    at::Tensor gradient = at::zeros({kDimension}, at::kDouble);
    double* const g = gradient.mutable_data_ptr<double>();
    for (int64_t n = 0; n < batch_size; ++n) {
      double x[kDimension];
      double residual = -kNoise * random_.Normal();
      for (int i = 0; i < kDimension; ++i) {
        x[i] = random_.Normal();
        residual += x[i] * Offset(i);
      }
      for (int i = 0; i < kDimension; ++i) {
        g[i] += x[i] * residual / static_cast<double>(batch_size);
      }
    }
    g[0] += shift;
    return gradient;
  }

 private:
  RandomStream random_;
};

Update UpdateOf(const at::Tensor& gradient, int64_t examples) {
  Update update;
  update.num_examples = examples;
  update.groups[kParametersGroup] = {gradient.narrow(0, 0, 2),
                                     gradient.narrow(0, 2, kDimension - 2)};
  return update;
}

TensorLayout Layout() {
  return {{.name = "a", .sizes = {2}, .dtype = at::kDouble},
          {.name = "b", .sizes = {kDimension - 2}, .dtype = at::kDouble}};
}

TEST(GradientNoiseTest, TwoBatchesAreUnbiased) {
  Regression regression(1);
  Sample signal;
  Sample variance;
  for (int i = 0; i < 4000; ++i) {
    const NoiseEstimate e =
        NoiseOfTwoBatches(SquaredNorm({regression.Gradient(4)}), 4,
                          SquaredNorm({regression.Gradient(32)}), 32);
    signal.Add(e.signal);
    variance.Add(e.variance);
  }
  EXPECT_LT(signal.Distance(Regression::Signal()), 3);
  EXPECT_LT(variance.Distance(Regression::Variance()), 3);
}

// Batches of different sizes, weighted by examples as a server does.
TEST(GradientNoiseTest, WorkersAreUnbiased) {
  Regression regression(2);
  const std::vector<int64_t> sizes = {3, 8, 5, 16};
  Sample signal;
  Sample variance;
  for (int i = 0; i < 4000; ++i) {
    NoiseObserver observer;
    observer.Begin(Layout());
    at::Tensor mean = at::zeros({kDimension}, at::kDouble);
    for (size_t k = 0; k < sizes.size(); ++k) {
      const at::Tensor gradient = regression.Gradient(sizes[k]);
      observer.Add(static_cast<int64_t>(k), UpdateOf(gradient, sizes[k]));
      mean.add_(gradient, static_cast<double>(sizes[k]) / 32);
    }
    const NoiseEstimate e =
        Sum(observer.Estimate({mean.narrow(0, 0, 2), mean.narrow(0, 2, 4)}));
    signal.Add(e.signal);
    variance.Add(e.variance);
  }
  EXPECT_LT(signal.Distance(Regression::Signal()), 3);
  EXPECT_LT(variance.Distance(Regression::Variance()), 3);
}

// adaptdl/torch/gradient_noise_scale.py with `count` replicas and no smoothing:
//   grad_sqr = (count * |mean|^2 - local_sqr) / (count - 1)
//   grad_var = (local_sqr - |mean|^2) * scale / (count - 1)
// where local_sqr is the mean of |g_n|^2, and scale the total batch over that
// of one replica; its variance is that of a replica's batch.
TEST(GradientNoiseTest, EqualWorkersAreAdaptDls) {
  Regression regression(3);
  constexpr int kCount = 5;
  constexpr int kBatch = 7;
  at::Tensor mean = at::zeros({kDimension}, at::kDouble);
  double local_sqr = 0;
  for (int n = 0; n < kCount; ++n) {
    const at::Tensor gradient = regression.Gradient(kBatch);
    mean.add_(gradient, 1.0 / kCount);
    local_sqr += SquaredNorm({gradient}) / kCount;
  }
  const double total_sqr = SquaredNorm({mean});
  const double grad_sqr = (kCount * total_sqr - local_sqr) / (kCount - 1);
  const double grad_var = (local_sqr - total_sqr) * kCount / (kCount - 1);
  const NoiseEstimate e =
      NoiseOfWorkers(local_sqr, total_sqr, kCount * kBatch, kCount);
  EXPECT_NEAR(e.signal, grad_sqr, 1e-12);
  EXPECT_NEAR(e.variance, kBatch * grad_var, 1e-11);
}

// Four clients whose true gradients are d + (shift, 0, ...): their variance is
// that of the shifts, 5/3 of their four values with n - 1 below the line.
TEST(GradientNoiseTest, PairsTellNoiseFromDrift) {
  Regression regression(4);
  const double shifts[] = {-1.5, -0.5, 0.5, 1.5};
  Sample signal;
  Sample variance;
  Sample drift;
  for (int i = 0; i < 3000; ++i) {
    PairedNoiseObserver observer;
    observer.Begin(Layout());
    for (int slot = 0; slot < 8; ++slot) {
      observer.Add(slot, UpdateOf(regression.Gradient(6, shifts[slot / 2]), 6));
    }
    ASSERT_EQ(observer.num_clients(), 4);
    PairedNoiseObserver::ClientNoise sum;
    for (const auto& e : observer.Estimates()) {
      sum.signal += e.signal;
      sum.variance += e.variance;
      sum.drift += e.drift;
    }
    // The drift is that of clients drawn from many; of these four, fixed, the
    // mean's own share of it is in the signal's estimate: d and not the mean.
    signal.Add(sum.signal);
    variance.Add(sum.variance);
    drift.Add(sum.drift);
  }
  EXPECT_LT(variance.Distance(Regression::Variance()), 3);
  EXPECT_LT(drift.Distance(5.0 / 3), 3);
  // |mean of the true gradients|^2 - drift / 4, since the shifts' mean is 0.
  EXPECT_LT(signal.Distance(Regression::Signal() - 5.0 / 12), 3);
}

TEST(GradientNoiseTest, AnUnpairedGradientCountsForNothing) {
  PairedNoiseObserver observer;
  observer.Begin(Layout());
  Regression regression(5);
  observer.Add(1, UpdateOf(regression.Gradient(4), 4));
  observer.Add(2, UpdateOf(regression.Gradient(4), 4));
  EXPECT_EQ(observer.num_clients(), 0);
  observer.Add(3, UpdateOf(regression.Gradient(4), 4));
  EXPECT_EQ(observer.num_clients(), 1);
}

// Weights 1 and 1/2: (2 * 1/2 + 4) / (3/2) = 10/3 and (6 * 1/2 + 3) / (3/2)
// = 4.
TEST(NoiseAverageTest, AveragesBothApart) {
  NoiseAverage average(0.5);
  EXPECT_TRUE(std::isnan(average.noise_scale()));
  average.Add({.signal = 2, .variance = 6});
  EXPECT_DOUBLE_EQ(average.noise_scale(), 3);
  average.Add({.signal = 4, .variance = 3});
  EXPECT_DOUBLE_EQ(average.signal(), 10.0 / 3);
  EXPECT_DOUBLE_EQ(average.variance(), 4);
  NoiseAverage copy(0.5);
  ASSERT_TRUE(copy.LoadState(average.SaveState()).ok());
  EXPECT_EQ(copy.noise_scale(), average.noise_scale());
  EXPECT_FALSE(copy.LoadState({}).ok());
  average.Add({.signal = -100, .variance = 3});
  EXPECT_TRUE(std::isnan(average.noise_scale()));
}

}  // namespace
}  // namespace fedlb
