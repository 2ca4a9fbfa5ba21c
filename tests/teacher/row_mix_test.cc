#include "row_mix.h"

#include <cstdint>
#include <tuple>

#include <ATen/core/Tensor.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/mm.h>
#include <gtest/gtest.h>

namespace fedlb {
namespace {

using teacher::MixRows;

at::Tensor Numbers(int64_t rows, int64_t columns, double step) {
  return at::arange(rows * columns, at::kDouble)
      .mul_(step)
      .sin_()
      .view({rows, columns});
}

// Rows of the basis before and after, and columns.
class MixRowsTest
    : public ::testing::TestWithParam<std::tuple<int64_t, int64_t, int64_t>> {
 protected:
  // The largest error in a basis of type `stored`, and that rows beyond the
  // product stay as they were.
  void ExpectProduct(at::ScalarType type, at::ScalarType stored,
                     double tolerance) {
    const auto [before, after, columns] = GetParam();
    constexpr int64_t kMostRows = 11;
    constexpr int64_t kNewRows = 3;
    const at::Tensor factors = Numbers(after, before + kNewRows, 0.7).to(type);
    const at::Tensor rows = Numbers(kNewRows, columns, 1.3).to(type);
    at::Tensor basis = Numbers(kMostRows, columns, 0.9).to(stored);
    const at::Tensor old = basis.clone();
    const at::Tensor expected =
        at::mm(factors.to(at::kDouble),
               at::cat({old.narrow(0, 0, before).to(at::kDouble),
                        rows.to(at::kDouble)}));
    MixRows(factors, rows, basis);
    EXPECT_TRUE(at::allclose(basis.narrow(0, 0, after).to(at::kDouble),
                             expected, tolerance, tolerance));
    EXPECT_TRUE(at::equal(basis.narrow(0, after, kMostRows - after),
                          old.narrow(0, after, kMostRows - after)));
  }
};

TEST_P(MixRowsTest, IsTheProductInPlace) {
  ExpectProduct(at::kDouble, at::kDouble, 1e-14);
  ExpectProduct(at::kFloat, at::kFloat, 3e-6);
  ExpectProduct(at::kFloat, at::kBFloat16, 1e-2);
  ExpectProduct(at::kDouble, at::kBFloat16, 1e-2);
}

INSTANTIATE_TEST_SUITE_P(Shapes, MixRowsTest,
                         ::testing::Combine(::testing::Values(0, 1, 8),
                                            ::testing::Values(1, 4, 9),
                                            ::testing::Values(1, 16, 32, 99)));

}  // namespace
}  // namespace fedlb
