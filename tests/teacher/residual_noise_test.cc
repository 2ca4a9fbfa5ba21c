#include "residual_noise.h"

#include <cmath>
#include <cstdint>

#include <ATen/core/Tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

namespace fedlb {
namespace {

using teacher::ResidualNoise;

const TensorLayout kLayout = {{"w", {2}, at::kFloat}};

TensorList Pair(double x, double y) {
  return {ToTensor({x, y}).to(at::kFloat)};
}

TEST(ResidualNoiseTest, DrawsHaveTheResidualsCovariance) {
  ResidualNoise noise;
  noise.Add(Pair(1, 1));
  noise.Add(Pair(0, 2));
  constexpr int kDraws = 20000;
  double xx = 0;
  double xy = 0;
  double yy = 0;
  double x_sum = 0;
  for (int64_t step = 0; step < kDraws; ++step) {
    TensorList target = Pair(0, 0);
    const double norm =
        noise.AddDraw({.seed = 1, .purpose = "test", .step = step}, 3, target);
    const auto x = target[0][0].item<double>();
    const auto y = target[0][1].item<double>();
    EXPECT_NEAR(norm, std::hypot(x, y), 1e-5 * norm);
    x_sum += x;
    xx += x * x / kDraws;
    xy += x * y / kDraws;
    yy += y * y / kDraws;
  }
  // 9 / 2 times [[1, 1], [1, 1 + 4]]. A variance's relative standard error is
  // sqrt(2 / draws), 1 %.
  EXPECT_NEAR(xx, 4.5, 0.045 * 4);
  EXPECT_NEAR(xy, 4.5, 0.12 * 4);
  EXPECT_NEAR(yy, 22.5, 0.225 * 4);
  EXPECT_NEAR(x_sum / kDraws, 0, 4 * std::sqrt(4.5 / kDraws));
}

TEST(ResidualNoiseTest, WithoutResidualsThereIsNone) {
  TensorList target = Pair(5, 7);
  EXPECT_EQ(ResidualNoise().AddDraw({.purpose = "test"}, 1, target), 0);
  EXPECT_TRUE(target[0].equal(Pair(5, 7)[0]));
}

TEST(ResidualNoiseTest, TheNewestResidualsAreKept) {
  ResidualNoise noise;
  for (int i = 0; i < 11; ++i) {
    noise.Add(Pair(i, 0));
  }
  const TensorList saved = noise.Save();
  ASSERT_EQ(saved.size(), ResidualNoise::kMaxResiduals);
  EXPECT_EQ(saved.front()[0].item<double>(), 3);
  EXPECT_EQ(saved.back()[0].item<double>(), 10);
}

TEST(ResidualNoiseTest, IsRestoredAndChecked) {
  ResidualNoise noise;
  noise.Add(Pair(1, 2));
  noise.Add(Pair(3, 4));
  ResidualNoise restored;
  ASSERT_EQ(restored.Load(kLayout, noise.Save()), absl::OkStatus());
  TensorList expected = Pair(0, 0);
  TensorList drawn = Pair(0, 0);
  noise.AddDraw({.purpose = "test"}, 1, expected);
  restored.AddDraw({.purpose = "test"}, 1, drawn);
  EXPECT_TRUE(drawn[0].equal(expected[0]));

  EXPECT_FALSE(restored.Load(kLayout, {at::zeros({3})}).ok());
  EXPECT_FALSE(restored.Load(kLayout, TensorList(9, at::zeros({2}))).ok());
  const TensorLayout two = {kLayout[0], {"v", {1}, at::kFloat}};
  EXPECT_FALSE(restored.Load(two, {at::zeros({2})}).ok());
}

}  // namespace
}  // namespace fedlb
