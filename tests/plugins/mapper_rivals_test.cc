// Gradient mappers other than identity and step.

#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fedlb/gradient_mapper.h"
#include "fedlb/logger.h"
#include "fedlb/status.h"
#include "fedlb/tensor_list.h"
#include "mappers/adascale.h"
#include "mappers/extrapolation.h"
#include "mappers/noise.h"
#include "mappers/norm_match.h"
#include "plugins/make_component.h"

namespace fedlb {
namespace {

using mappers::AdaScale;
using mappers::Extrapolation;
using mappers::FisherNoise;
using mappers::GaussianNoise;
using mappers::MicrobatchNoise;
using mappers::NormMatch;
using ::testing::HasSubstr;

TensorList Vector(std::vector<double> values) { return {ToTensor(values)}; }

double At(const TensorList& tensors, int64_t i) {
  return tensors[0][i].item<double>();
}

StepContext AtStep(int64_t step) {
  StepContext context;
  context.step = step;
  context.round = step;
  return context;
}

StepContext WithMeans(int64_t batch_size, std::vector<TensorList> means) {
  StepContext context;
  context.batch_size = batch_size;
  context.partial_means = std::move(means);
  return context;
}

TEST(NormMatchTest, ScalesToTheNormByNoMoreThanTheGain) {
  const auto mapper = Make<NormMatch>("norm = 10\nmax_gain = 4");
  TensorList gradient = Vector({3, 4});
  ASSERT_TRUE(mapper->Map({}, gradient).ok());
  EXPECT_DOUBLE_EQ(At(gradient, 0), 6);
  EXPECT_DOUBLE_EQ(mapper->Report().at("gain"), 2);
  gradient = Vector({0.3, 0.4});
  ASSERT_TRUE(mapper->Map({}, gradient).ok());
  EXPECT_DOUBLE_EQ(At(gradient, 1), 1.6);
  gradient = Vector({30, 40});
  ASSERT_TRUE(mapper->Map({}, gradient).ok());
  EXPECT_DOUBLE_EQ(At(gradient, 1), 8);
}

TEST(GaussianNoiseTest, HasTheVarianceOfItsStep) {
  const auto mapper = Make<GaussianNoise>("variance = 4\nannealing = 0.5");
  for (const int64_t step : {0, 3}) {
    TensorList noise = {at::zeros({200000}, at::kDouble)};
    ASSERT_TRUE(mapper->Map(AtStep(step), noise).ok());
    const double deviation = step == 0 ? 2 : std::sqrt(2.0);
    // Five standard errors.
    EXPECT_NEAR(noise[0].mean().item<double>(), 0,
                5 * deviation / std::sqrt(2e5));
    EXPECT_NEAR(noise[0].std().item<double>(), deviation,
                5 * deviation / std::sqrt(4e5));
    EXPECT_DOUBLE_EQ(mapper->Report().at("noise"), deviation);
  }
}

TEST(GaussianNoiseTest, IsAnotherInEveryStepForEveryClientAndSeed) {
  const auto noise_of = [](uint64_t seed, int64_t step, int64_t client) {
    ComponentContext made;
    made.seed = seed;
    StepContext context = AtStep(step);
    context.client = client;
    TensorList noise = {at::zeros({16}, at::kDouble)};
    EXPECT_TRUE(Make<GaussianNoise>("", made)->Map(context, noise).ok());
    return Sha256Hex(noise);
  };
  EXPECT_EQ(noise_of(1, 2, 3), noise_of(1, 2, 3));
  EXPECT_NE(noise_of(1, 2, 3), noise_of(2, 2, 3));
  EXPECT_NE(noise_of(1, 2, 3), noise_of(1, 3, 3));
  EXPECT_NE(noise_of(1, 2, 3), noise_of(1, 2, 4));
}

// Per-example gradients e_ij with known second moments, as M means of m.
class SampledNoiseTest : public ::testing::Test {
 protected:
  static constexpr int64_t kMeans = 8;
  static constexpr int64_t kBatch = 512;
  static constexpr int64_t kSmall = 32;
  static constexpr int kSteps = 4000;

  SampledNoiseTest() {
    for (int64_t i = 0; i < kMeans; ++i) {
      std::vector<double> values;
      for (int64_t j = 0; j < 3; ++j) {
        values.push_back(static_cast<double>(j + 1) *
                         std::sin(static_cast<double>(5 * i + 3 * j + 1)));
      }
      means_.push_back(Vector(values));
    }
    gradient_ = MeanOf(means_);
    for (int64_t j = 0; j < 3; ++j) {
      for (int64_t k = 0; k < 3; ++k) {
        double sum = 0;
        for (const TensorList& mean : means_) {
          sum += (At(mean, j) - At(gradient_, j)) *
                 (At(mean, k) - At(gradient_, k));
        }
        // An unbiased estimate of the covariance of one example's gradient.
        covariance_[j][k] = sum / (kMeans - 1) * (kBatch / kMeans);
      }
    }
  }

  // Mean and covariance of what the mapper adds, over many steps.
  void Sample(GradientMapper& mapper) {
    for (int step = 0; step < kSteps; ++step) {
      StepContext context = WithMeans(kBatch, means_);
      context.step = step;
      TensorList mapped = Clone(gradient_);
      ASSERT_EQ(mapper.Map(context, mapped), absl::OkStatus());
      for (int64_t j = 0; j < 3; ++j) {
        added_mean_[j] += (At(mapped, j) - At(gradient_, j)) / kSteps;
        for (int64_t k = 0; k < 3; ++k) {
          added_covariance_[j][k] += (At(mapped, j) - At(gradient_, j)) *
                                     (At(mapped, k) - At(gradient_, k)) /
                                     kSteps;
        }
      }
    }
  }

  std::vector<TensorList> means_;
  TensorList gradient_;
  double covariance_[3][3] = {};
  double added_mean_[3] = {};
  double added_covariance_[3][3] = {};
};

TEST_F(SampledNoiseTest, MicrobatchNoiseHasTheCovarianceThatIsMissing) {
  Sample(*Make<MicrobatchNoise>("small_batch_size = 32"));
  for (int64_t j = 0; j < 3; ++j) {
    const double variance = covariance_[j][j] * (1.0 / kSmall - 1.0 / kBatch);
    EXPECT_NEAR(added_mean_[j], 0, 5 * std::sqrt(variance / kSteps));
    for (int64_t k = 0; k < 3; ++k) {
      const double expected = covariance_[j][k] * (1.0 / kSmall - 1.0 / kBatch);
      const double scale = std::sqrt(covariance_[j][j] * covariance_[k][k]) *
                           (1.0 / kSmall - 1.0 / kBatch);
      // Five standard errors of a product of normals.
      EXPECT_NEAR(added_covariance_[j][k], expected,
                  5 * scale * std::sqrt(2.0 / kSteps))
          << j << " " << k;
    }
  }
}

TEST_F(SampledNoiseTest, FisherNoiseHasTheDiagonalOfTheFisherInformation) {
  Sample(*Make<FisherNoise>("small_batch_size = 32"));
  for (int64_t j = 0; j < 3; ++j) {
    const double fisher =
        covariance_[j][j] + At(gradient_, j) * At(gradient_, j);
    const double variance = fisher * (1.0 / kSmall - 1.0 / kBatch);
    EXPECT_NEAR(added_mean_[j], 0, 5 * std::sqrt(variance / kSteps));
    EXPECT_NEAR(added_covariance_[j][j], variance,
                5 * variance * std::sqrt(2.0 / kSteps));
    EXPECT_NEAR(added_covariance_[j][(j + 1) % 3], 0,
                5 * std::sqrt(9 * variance * variance / kSteps));
  }
}

TEST_F(SampledNoiseTest, NothingIsAddedWhereTheBatchIsSmallEnough) {
  for (const int64_t batch : {16, 32}) {
    TensorList mapped = Clone(gradient_);
    const StepContext context = WithMeans(batch, means_);
    ASSERT_TRUE(
        Make<FisherNoise>("small_batch_size = 32")->Map(context, mapped).ok());
    ASSERT_TRUE(Make<MicrobatchNoise>("small_batch_size = 32")
                    ->Map(context, mapped)
                    .ok());
    EXPECT_EQ(Sha256Hex(mapped), Sha256Hex(gradient_));
  }
}

TEST_F(SampledNoiseTest, OneMeanIsRefused) {
  const StepContext context = WithMeans(kBatch, {gradient_});
  TensorList mapped = Clone(gradient_);
  for (const absl::Status& status :
       {Make<FisherNoise>("")->Map(context, mapped),
        Make<MicrobatchNoise>("")->Map(context, mapped),
        Make<AdaScale>("")->Map(context, mapped)}) {
    EXPECT_EQ(FailureOf(status), Failure::kConfig);
    EXPECT_THAT(std::string(status.message()), HasSubstr("micro_batch_size"));
  }
}

// The extragradient method with past gradients, written down as the paper has
// it, on f(x) = sum a_i x_i^2 / 2.
TEST(ExtrapolationTest, EqualsStepsThatAreTakenAhead) {
  const std::vector<double> a = {1, 4, 0.3};
  constexpr double kLr = 0.2;
  constexpr double kRatio = 0.7;
  const auto mapper = Make<Extrapolation>("ratio = 0.7");
  std::vector<double> x = {1, -2, 3};
  std::vector<double> past = {0, 0, 0};
  std::vector<double> y = x;
  for (int step = 0; step < 12; ++step) {
    TensorList gradient = Vector({a[0] * y[0], a[1] * y[1], a[2] * y[2]});
    ASSERT_TRUE(mapper->Map(AtStep(step), gradient).ok());
    for (size_t i = 0; i < 3; ++i) {
      const double ahead = x[i] - kRatio * kLr * past[i];
      EXPECT_NEAR(y[i], ahead, 1e-12) << step;
      past[i] = a[i] * ahead;
      x[i] -= kLr * past[i];
      y[i] -= kLr * At(gradient, static_cast<int64_t>(i));
    }
  }
}

TEST(ExtrapolationTest, AClientsSnapshotIsRefused) {
  StepContext context;
  context.may_learn = false;
  TensorList gradient = Vector({1});
  EXPECT_EQ(FailureOf(Make<Extrapolation>("")->Map(context, gradient)),
            Failure::kConfig);
}

// Two means with |G_1|^2 = 25 and |G_2|^2 = 1, S = 4, |g|^2 = 8:
// q = 2 * 8 - 13 = 3, v = (13 - 8) * 4 = 20, r = 23 / (5 + 3).
TEST(AdaScaleTest, IsTheGainOfThePaper) {
  const auto mapper = Make<AdaScale>("small_batch_size = 64");
  const StepContext context = WithMeans(256, {Vector({3, 4}), Vector({1, 0})});
  TensorList gradient = Vector({2, 2});
  ASSERT_TRUE(mapper->Map(context, gradient).ok());
  EXPECT_NEAR(mapper->Report().at("gain"), 23.0 / (5 + 3), 1e-12);
  EXPECT_NEAR(At(gradient, 0), 2 * 23.0 / 8, 1e-12);
}

TEST(AdaScaleTest, AveragesOverSteps) {
  const auto mapper = Make<AdaScale>("small_batch_size = 64");
  TensorList gradient = Vector({2, 2});
  ASSERT_TRUE(
      mapper->Map(WithMeans(256, {Vector({3, 4}), Vector({1, 0})}), gradient)
          .ok());
  // Without noise: q = |g|^2 = 16, v = 1e-6.
  gradient = Vector({0, 4});
  ASSERT_TRUE(
      mapper->Map(WithMeans(256, {Vector({0, 4}), Vector({0, 4})}), gradient)
          .ok());
  const double decay = 1 - 4.0 / 1000;
  const double v = decay * 20 + 1e-6;
  const double q = decay * 3 + 16;
  EXPECT_NEAR(mapper->Report().at("gain"), (v + q) / (v / 4 + q), 1e-9);
}

}  // namespace
}  // namespace fedlb
