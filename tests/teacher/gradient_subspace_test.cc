#include "gradient_subspace.h"

#include <cmath>
#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/linalg_svd.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "fedlb/tensor_list.h"

namespace fedlb {
namespace {

using teacher::BasisPrecision;
using teacher::GradientSubspace;

constexpr int64_t kNumel = 60;

// Numbers in (-1, 1) that differ from call to call by `seed`, with columns of
// very different size so that some directions dominate.
at::Tensor Gradients(int64_t rows, uint64_t seed, int64_t numel = kNumel) {
  at::Tensor gradients = at::zeros({rows, numel}, at::kDouble);
  double* const data = gradients.data_ptr<double>();
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < numel; ++j) {
      // The square keeps rows from being combinations of two.
      const auto place = static_cast<double>(77 * static_cast<int64_t>(seed) +
                                             i * numel + j + 1);
      const double x = std::sin(0.37 * place * place);
      data[i * numel + j] = x / static_cast<double>(1 + j % 7);
    }
  }
  return gradients;
}

GradientSubspace InDouble(int64_t rank, double forgetting) {
  return GradientSubspace(rank, forgetting, kNumel, at::kDouble,
                          BasisPrecision::kFull);
}

at::Tensor Projector(const at::Tensor& basis) {
  return at::mm(basis.t(), basis);
}

// The minimiser of the reconstruction error of the rows of `matrix` among tied
// linear autoencoders of `rank` is given by its first right singular vectors
// (Eckart and Young).
void ExpectMinimiser(const GradientSubspace& subspace, const at::Tensor& matrix,
                     int64_t rank, double tolerance) {
  const auto [u, s, vh] = at::linalg_svd(matrix, /*full_matrices=*/false);
  ASSERT_EQ(subspace.rank(), rank);
  for (int64_t j = 0; j < rank; ++j) {
    EXPECT_NEAR(subspace.singular_values()[static_cast<size_t>(j)],
                s[j].item<double>(), tolerance);
  }
  // Two orthonormal bases span the same where their overlap is orthogonal.
  const at::Tensor overlap =
      at::mm(subspace.basis(), vh.narrow(0, 0, rank).t());
  EXPECT_LE(at::mm(overlap, overlap.t())
                .sub(at::eye(rank, at::kDouble))
                .abs()
                .max()
                .item<double>(),
            tolerance);
}

TEST(GradientSubspaceTest, EqualsTheSvdOfAllWeightedGradients) {
  constexpr double kForgetting = 0.8;
  // Ten rows in all: nothing is cut off.
  GradientSubspace subspace = InDouble(12, kForgetting);
  at::Tensor all = at::zeros({0, kNumel}, at::kDouble);
  for (uint64_t update = 0; update < 5; ++update) {
    const at::Tensor gradients = Gradients(2, update);
    subspace.Update(gradients);
    all = at::cat({all.mul(std::sqrt(kForgetting)),
                   gradients.mul(std::sqrt((1 - kForgetting) / 2))});
    ExpectMinimiser(subspace, all, all.size(0), 1e-6);
  }
}

TEST(GradientSubspaceTest, KeepsTheBestDirectionsOfWhatItKnows) {
  constexpr double kForgetting = 0.9;
  GradientSubspace subspace = InDouble(4, kForgetting);
  for (uint64_t update = 0; update < 40; ++update) {
    const at::Tensor gradients = Gradients(3, update);
    const at::Tensor known =
        subspace.rank() == 0
            ? at::zeros({0, kNumel}, at::kDouble)
            : subspace.basis()
                  .mul(ToTensor(subspace.singular_values()).unsqueeze(1))
                  .mul(std::sqrt(kForgetting));
    subspace.Update(gradients);
    ExpectMinimiser(
        subspace,
        at::cat({known, gradients.mul(std::sqrt((1 - kForgetting) / 3))}),
        known.size(0) == 0 ? 3 : 4, 1e-6);
  }
}

TEST(GradientSubspaceTest, StaysOrthonormalInFloat) {
  GradientSubspace subspace(8, 0.9, kNumel, at::kFloat, BasisPrecision::kFull);
  for (uint64_t update = 0; update < 2000; ++update) {
    subspace.Update(Gradients(4, update).to(at::kFloat));
  }
  const at::Tensor basis = subspace.basis().to(at::kDouble);
  EXPECT_LE(at::mm(basis, basis.t())
                .sub(at::eye(8, at::kDouble))
                .abs()
                .max()
                .item<double>(),
            1e-5);
}

TEST(GradientSubspaceTest, EncodesAndDecodesByTheBasis) {
  GradientSubspace subspace = InDouble(5, 0.5);
  subspace.Update(Gradients(5, 1));
  const at::Tensor vector = Gradients(1, 9)[0];
  const std::vector<double> code = subspace.Encode(vector);
  const at::Tensor expected = subspace.basis().mv(vector);
  EXPECT_TRUE(at::allclose(ToTensor(code), expected));
  at::Tensor sum = vector.clone();
  subspace.AddDecoded(code, sum);
  EXPECT_TRUE(at::allclose(sum, vector.add(subspace.basis().t().mv(expected))));
}

// A second-level cache's worth of columns is worked on at a time.
TEST(GradientSubspaceTest, LongVectorsAreTakenInParts) {
  constexpr int64_t kLong = 20000;
  GradientSubspace subspace(3, 0, kLong, at::kDouble, BasisPrecision::kFull);
  const at::Tensor gradients = Gradients(3, 4, kLong);
  subspace.Update(gradients);
  ExpectMinimiser(subspace, gradients.div(std::sqrt(3.0)), 3, 1e-6);
}

TEST(GradientSubspaceTest, ABf16BasisSpansTheSameToItsPrecision) {
  GradientSubspace full = InDouble(4, 0.9);
  GradientSubspace half(4, 0.9, kNumel, at::kFloat, BasisPrecision::kBf16);
  for (uint64_t update = 0; update < 5; ++update) {
    full.Update(Gradients(6, update));
    half.Update(Gradients(6, update).to(at::kFloat));
  }
  EXPECT_EQ(half.basis().scalar_type(), at::kBFloat16);
  EXPECT_LE(Projector(half.basis().to(at::kDouble))
                .sub(Projector(full.basis()))
                .abs()
                .max()
                .item<double>(),
            0.05);
}

TEST(GradientSubspaceTest, GradientsThatRepeatAddNoDirection) {
  GradientSubspace subspace = InDouble(8, 0.9);
  for (int update = 0; update < 3; ++update) {
    subspace.Update(Gradients(2, 7));
  }
  EXPECT_EQ(subspace.rank(), 2);
}

TEST(GradientSubspaceTest, NothingIsLearntFromZeros) {
  GradientSubspace subspace = InDouble(8, 0.9);
  subspace.Update(at::zeros({3, kNumel}, at::kDouble));
  EXPECT_EQ(subspace.rank(), 0);
  EXPECT_TRUE(subspace.Encode(Gradients(1, 1)[0]).empty());
}

TEST(GradientSubspaceTest, ARestoredBasisGoesOnWithTheSameBits) {
  GradientSubspace steady = InDouble(4, 0.9);
  for (uint64_t update = 0; update < 7; ++update) {
    steady.Update(Gradients(3, update));
  }
  GradientSubspace restored = InDouble(4, 0.9);
  restored.Restore(steady.basis(), steady.singular_values(),
                   steady.num_updates());
  for (uint64_t update = 7; update < 60; ++update) {
    steady.Update(Gradients(3, update));
    restored.Update(Gradients(3, update));
  }
  EXPECT_TRUE(steady.basis().equal(restored.basis()));
  EXPECT_EQ(steady.singular_values(), restored.singular_values());
}

}  // namespace
}  // namespace fedlb
