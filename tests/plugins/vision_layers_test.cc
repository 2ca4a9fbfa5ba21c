#include "vision_models/layers.h"

#include <vector>

#include <ATen/ops/allclose.h>
#include <ATen/ops/arange.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

namespace fedlb::vision_models {
namespace {

at::Tensor Ramp(at::IntArrayRef sizes, double scale) {
  return at::arange(c10::multiply_integers(sizes), at::kDouble)
      .mul_(scale)
      .sin_()
      .view(sizes);
}

struct PoolShape {
  int64_t batch;
  int64_t height;
  int64_t width;
  int64_t side;
};

class LinearOnPoolTest : public ::testing::TestWithParam<PoolShape> {};

// Whichever of the two is pooled, the images or the weights.
TEST_P(LinearOnPoolTest, IsALinearLayerBehindThePooling) {
  const PoolShape& shape = GetParam();
  const int64_t channels = 3;
  const int64_t features = channels * shape.side * shape.side;
  const Linear linear = {
      .weight = Ramp({5, features}, 0.7).requires_grad_(true),
      .bias = Ramp({5}, 0.3).requires_grad_(true)};
  const at::Tensor x =
      Ramp({shape.batch, channels, shape.height, shape.width}, 1.1)
          .requires_grad_(true);
  const at::Tensor y = LinearOnPool(linear, x, shape.side);
  const at::Tensor expected = linear(AveragePoolTo(x, shape.side).flatten(1));
  ASSERT_EQ(y.sizes(), expected.sizes());
  EXPECT_TRUE(at::allclose(y, expected, 1e-12, 1e-12));

  const std::vector<at::Tensor> inputs = {x, linear.weight, linear.bias};
  const at::Tensor outward = Ramp(y.sizes(), 0.9);
  const auto gradients = torch::autograd::grad({y}, inputs, {outward});
  const auto wanted = torch::autograd::grad({expected}, inputs, {outward});
  for (size_t i = 0; i < inputs.size(); ++i) {
    EXPECT_TRUE(at::allclose(gradients[i], wanted[i], 1e-12, 1e-12)) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, LinearOnPoolTest,
    ::testing::Values(PoolShape{1, 1, 1, 7}, PoolShape{9, 1, 1, 7},
                      PoolShape{9, 2, 1, 7}, PoolShape{9, 3, 2, 4},
                      PoolShape{9, 4, 4, 4}, PoolShape{9, 5, 8, 2}));

}  // namespace
}  // namespace fedlb::vision_models
