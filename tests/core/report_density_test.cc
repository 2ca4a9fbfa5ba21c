#include "report/density.h"

#include <cmath>
#include <numbers>
#include <random>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fedlb {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

double Integral(const Density& density) {
  double sum = 0;
  for (size_t i = 1; i < density.x.size(); ++i) {
    sum += (density.x[i] - density.x[i - 1]) *
           (density.y[i] + density.y[i - 1]) / 2;
  }
  return sum;
}

// s^2 = (1 + 1 + 1 + 1) * 1.5^2 / 3 = 3, n^(-1/5) = 4^(-0.2).
TEST(DensityTest, BandwidthIsScotts) {
  EXPECT_DOUBLE_EQ(ScottBandwidth({1, 4, 4, 1}),
                   std::sqrt(3.0) * std::pow(4.0, -0.2));
  EXPECT_EQ(ScottBandwidth({}), 0);
  EXPECT_EQ(ScottBandwidth({4}), 0);
  EXPECT_EQ(ScottBandwidth({0.1, 0.1, 0.1}), 0);
}

// Two points at -1 and 1: s = sqrt(2), h = sqrt(2) 2^(-1/5) = 2^0.3, and
// f(0) = phi(1/h) / h, f(+-(1 + 3 h)) = (phi(3) + phi(3 + 2/h)) / (2 h).
TEST(DensityTest, OfTwoPointsHasItsClosedForm) {
  const Density density = EstimateDensity({-1, 1});
  ASSERT_THAT(density.x, SizeIs(401));
  const double h = std::pow(2.0, 0.3);
  const auto phi = [](double u) {
    return std::exp(-u * u / 2) / std::sqrt(2 * std::numbers::pi);
  };
  EXPECT_NEAR(density.x[200], 0, 1e-12);
  EXPECT_NEAR(density.y[200], phi(1 / h) / h, 1e-8);
  EXPECT_NEAR(density.x[400], 1 + 3 * h, 1e-12);
  EXPECT_NEAR(density.y[400], (phi(3) + phi(3 + 2 / h)) / (2 * h), 1e-8);
  EXPECT_DOUBLE_EQ(density.y[0], density.y[400]);
}

// Three widths of margin on both sides leave out 0.27 % of a lone kernel at an
// end, half of it here on average.
TEST(DensityTest, EnclosesNearlyAllOfTheUnitArea) {
  std::mt19937_64 random(20260302);
  for (int i = 0; i < 50; ++i) {
    std::vector<double> gains;
    const int count = 2 + static_cast<int>(random() % 300);
    for (int k = 0; k < count; ++k) {
      gains.push_back(random() % 3 == 0 ? 8 : 1);
    }
    gains.push_back(1);
    gains.push_back(8);
    const double area = Integral(EstimateDensity(gains));
    EXPECT_GT(area, 0.9972);
    EXPECT_LT(area, 1.0001);
  }
}

TEST(DensityTest, ManyDifferentValuesAreBinnedWithoutVisibleError) {
  std::mt19937_64 random(20260303);
  std::normal_distribution<double> normal(3, 0.5);
  std::vector<double> values;
  for (int i = 0; i < 20'000; ++i) {
    values.push_back(normal(random));
  }
  const Density density = EstimateDensity(values);
  const double h = ScottBandwidth(values);
  double largest = 0;
  for (size_t i = 0; i < density.x.size(); i += 40) {
    double sum = 0;
    for (const double value : values) {
      const double u = (density.x[i] - value) / h;
      sum += std::exp(-u * u / 2);
    }
    const double exact = sum / (static_cast<double>(values.size()) * h *
                                std::sqrt(2 * std::numbers::pi));
    largest = std::max(largest, std::abs(density.y[i] - exact));
  }
  EXPECT_LT(largest, 1e-4);  // of a peak of 0.8
}

TEST(DensityTest, IsEmptyWhereAllGainsAreTheSame) {
  EXPECT_THAT(EstimateDensity({1, 1, 1}).x, IsEmpty());
  EXPECT_THAT(EstimateDensity({}).x, IsEmpty());
  EXPECT_THAT(EstimateDensity({-1e308, 1e308}).x, IsEmpty());
}

}  // namespace
}  // namespace fedlb
