#include "gate_fit.h"

#include <cmath>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "displacement_gain.h"
#include "fedlb/gradient_mapper.h"
#include "pair_codes.h"
#include "pair_scores.h"

namespace fedlb {
namespace {

using teacher::BlockCodes;
using teacher::CodedPair;
using teacher::DisplacementGain;
using teacher::FitGates;
using teacher::FittedGates;
using teacher::Median;
using teacher::PairCodes;
using teacher::PairScores;

constexpr double kSteps = 16;

// A pair whose code follows the gain of `curvature_scale` exactly and whose
// bulk is `gain` times the gradient plus noise that leaves it a cosine of
// `cosine`.
CodedPair Pair(double size, double curvature_scale, double gain,
               double cosine) {
  BlockCodes codes;
  for (const double z : {0.2, 0.05, 0.01, 0.002}) {
    codes.z.push_back(z * size);
    codes.gradient.push_back(size + z);
    codes.displacement.push_back(
        DisplacementGain(curvature_scale * codes.z.back(), kSteps) *
        codes.gradient.back());
    codes.gradient_energy += codes.gradient.back() * codes.gradient.back();
    codes.displacement_energy +=
        codes.displacement.back() * codes.displacement.back();
    codes.product += codes.gradient.back() * codes.displacement.back();
  }
  const double bulk = 3 * size;  // |g| outside the code
  codes.gradient_energy += bulk * bulk;
  codes.product += gain * bulk * bulk;
  codes.displacement_energy += std::pow(gain * bulk / cosine, 2);
  CodedPair pair;
  pair.small_steps = kSteps;
  pair.blocks.push_back(codes);
  return pair;
}

TEST(GateFitTest, FindsTheGatesThatThePairsWereMadeWith) {
  PairCodes codes;
  for (const double size : {1.0, 0.8, 1.3, 0.5}) {
    codes.Add(Pair(size, 2.5, 6, 0.5));
  }
  const auto gates = FitGates(codes, 0.5);
  ASSERT_TRUE(gates.has_value());
  // The candidates are 18 % apart.
  EXPECT_NEAR(std::log(gates->curvature_scale / 2.5), 0, 0.09);
  EXPECT_NEAR(gates->mse_bulk_gain, 6, 1e-9);
  EXPECT_NEAR(gates->bulk_gain, 12, 1e-9);
  EXPECT_NEAR(gates->clip_norm,
              0.9 * Median({codes.pairs()[0].displacement_norm(),
                            codes.pairs()[1].displacement_norm(),
                            codes.pairs()[2].displacement_norm(),
                            codes.pairs()[3].displacement_norm()}),
              1e-9);
}

TEST(GateFitTest, GainsAreBounded) {
  PairCodes codes;
  for (int i = 0; i < 3; ++i) {
    codes.Add(Pair(1, 1, 100, 0.01));
  }
  EXPECT_EQ(FitGates(codes, 0.5)->bulk_gain, 1.5 * kSteps);
  PairCodes opposed;
  for (int i = 0; i < 3; ++i) {
    opposed.Add(Pair(1, 1, -3, 0.5));
  }
  EXPECT_EQ(FitGates(opposed, 0.5)->bulk_gain, 0.5);
}

TEST(GateFitTest, WaitsForThreePairs) {
  PairCodes codes;
  codes.Add(Pair(1, 1, 6, 0.5));
  codes.Add(Pair(1, 1, 6, 0.5));
  EXPECT_FALSE(FitGates(codes, 0.5).has_value());
}

TEST(PairCodesTest, KeepTheNewest) {
  PairCodes codes;
  for (int i = 1; i <= 25; ++i) {
    codes.Add(Pair(i, 1, 6, 0.5));
  }
  ASSERT_EQ(codes.pairs().size(), PairCodes::kMostPairs);
  EXPECT_EQ(codes.pairs().front().blocks[0].gradient[0], 6.2);
}

TEST(PairCodesTest, AreSavedAndLoaded) {
  PairCodes codes;
  codes.Add(Pair(1, 1, 6, 0.5));
  codes.Add(Pair(2, 1, 6, 0.5));
  PairCodes loaded;
  ASSERT_EQ(loaded.Load(codes.Save(), 1), absl::OkStatus());
  EXPECT_EQ(FitGates(loaded, 0.5).has_value(), false);
  EXPECT_EQ(loaded.pairs()[1].blocks[0].displacement,
            codes.pairs()[1].blocks[0].displacement);
  EXPECT_EQ(loaded.pairs()[1].displacement_norm(),
            codes.pairs()[1].displacement_norm());

  EXPECT_EQ(loaded.Load(codes.Save(), 2).code(),
            absl::StatusCode::kInvalidArgument);
  TensorList cut = codes.Save();
  cut[0] = cut[0].narrow(0, 0, 7);
  EXPECT_EQ(loaded.Load(cut, 1).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(loaded.pairs().size(), 2U);
}

// By hand: g = (1, 1), D = (2, 4), |D|^2 = 20, g.D = 6, |g|^2 = 2.
TEST(PairScoresTest, AreTheirFormulas) {
  const TensorList gradient = {ToTensor({1, 1})};
  const TensorList displacement = {ToTensor({2, 4})};
  const TensorList reordered = {ToTensor({4, 2})};
  PairScores scores;
  EXPECT_TRUE(scores.Summary().empty());
  // Before: g = (1, 0), D = (1, 0), and the constant gain becomes 1.
  scores.Add({{ToTensor({1, 0})}, {ToTensor({1, 0})}, {}},
             {{ToTensor({1, 0})}, {ToTensor({1, 0})}}, 4, false);
  EXPECT_TRUE(scores.Summary().empty());
  scores.Add({gradient, displacement, reordered},
             {{ToTensor({2, 2})}, {ToTensor({1, 3})}}, 4, true);
  const ScalarMap summary = scores.Summary();
  EXPECT_EQ(summary.at("heldout.pairs"), 1);
  EXPECT_NEAR(summary.at("heldout.cosine"), 12 / std::sqrt(8.0 * 20), 1e-12);
  EXPECT_NEAR(summary.at("heldout.norm_ratio"), std::sqrt(8.0 / 20), 1e-12);
  EXPECT_NEAR(summary.at("heldout.r2_mse"), 1 - 2.0 / 20, 1e-12);
  EXPECT_NEAR(summary.at("heldout.r2_norm_match"), 1 - 4.0 / 20, 1e-12);
  EXPECT_NEAR(summary.at("heldout.cosine_identity"), 6 / std::sqrt(40.0),
              1e-12);
  EXPECT_NEAR(summary.at("heldout.r2_identity"), 1 - 10.0 / 20, 1e-12);
  EXPECT_NEAR(summary.at("heldout.r2_small_steps"), 1 - 4.0 / 20, 1e-12);
  EXPECT_NEAR(summary.at("heldout.r2_constant_gain"), 1 - 10.0 / 20, 1e-12);
  EXPECT_NEAR(summary.at("heldout.r2_oracle_gain"), 36 / 40.0, 1e-12);
  EXPECT_NEAR(summary.at("heldout.ceiling_cosine"), 16 / 20.0, 1e-12);

  PairScores loaded;
  ASSERT_EQ(loaded.Load(scores.Save()), absl::OkStatus());
  EXPECT_EQ(loaded.Summary(), summary);
  EXPECT_FALSE(loaded.Load({ToTensor({1, 2, 3})}).ok());
}

}  // namespace
}  // namespace fedlb
