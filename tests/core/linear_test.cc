#include "fedlb/linear.h"

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>

#include "fedlb/random.h"

namespace fedlb {
namespace {

at::Tensor Normal(const std::vector<int64_t>& sizes, uint64_t seed) {
  at::Tensor values = at::zeros(sizes);
  RandomStream random({.seed = seed, .purpose = "test"});
  float* const data = values.mutable_data_ptr<float>();
  for (int64_t i = 0; i < values.numel(); ++i) {
    data[i] = static_cast<float>(random.Normal());
  }
  return values;
}

double LargestError(const at::Tensor& got, const at::Tensor& exact) {
  const double scale = exact.abs().max().item<double>();
  return got.to(at::kDouble).sub(exact).abs().max().item<double>() / scale;
}

struct Sizes {
  std::vector<int64_t> x;
  int64_t outputs;
  bool bias;
};

class ApplyLinearTest : public ::testing::TestWithParam<Sizes> {};

// Against the same in double: values and all gradients.
TEST_P(ApplyLinearTest, IsTheAffineMapAndItsGradients) {
  const Sizes& sizes = GetParam();
  const at::Tensor x = Normal(sizes.x, 1);
  const at::Tensor weight = Normal({sizes.outputs, sizes.x.back()}, 2);
  const at::Tensor bias = Normal({sizes.outputs}, 3);
  const auto leaf = [](const at::Tensor& values, at::ScalarType type) {
    return values.to(type, /*non_blocking=*/false, /*copy=*/true)
        .requires_grad_(true);
  };
  const auto run = [&](at::ScalarType type) {
    std::vector<at::Tensor> inputs = {leaf(x, type), leaf(weight, type)};
    if (sizes.bias) {
      inputs.push_back(leaf(bias, type));
    }
    const at::Tensor used_bias = sizes.bias ? inputs[2] : at::Tensor();
    at::Tensor y = type == at::kFloat
                       ? ApplyLinear(inputs[0], inputs[1], used_bias)
                       : at::linear(inputs[0], inputs[1], used_bias);
    std::vector<at::Tensor> results = {y};
    const at::Tensor outward = Normal(y.sizes().vec(), 4).to(type);
    for (at::Tensor& gradient : torch::autograd::grad({y}, inputs, {outward})) {
      results.push_back(std::move(gradient));
    }
    return results;
  };
  const std::vector<at::Tensor> got = run(at::kFloat);
  const std::vector<at::Tensor> exact = run(at::kDouble);
  ASSERT_EQ(got.size(), exact.size());
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_EQ(got[i].sizes(), exact[i].sizes());
    EXPECT_TRUE(got[i].is_contiguous());
    EXPECT_LT(LargestError(got[i], exact[i]), 1e-5) << "result " << i;
  }
}

// Small ones and, from 2^21 multiplications on, large ones.
INSTANTIATE_TEST_SUITE_P(All, ApplyLinearTest,
                         ::testing::Values(Sizes{{3, 5}, 4, true},
                                           Sizes{{7}, 4, true},
                                           Sizes{{256, 128}, 96, true},
                                           Sizes{{256, 96}, 128, true},
                                           Sizes{{300, 130}, 70, false},
                                           Sizes{{8, 33, 96}, 200, true},
                                           Sizes{{8, 33, 200}, 96, false},
                                           Sizes{{1, 2048}, 2048, true}));

TEST(LinearTest, TakesWhatIsNotContiguous) {
  const at::Tensor x = Normal({128, 300}, 1).t();  // [300, 128]
  const at::Tensor weight = Normal({200, 128}, 2);
  const at::Tensor exact =
      at::linear(x.to(at::kDouble), weight.to(at::kDouble));
  EXPECT_LT(LargestError(ApplyLinear(x, weight, {}), exact), 1e-5);
}

TEST(LinearTest, OnlyLargeProductsGoToOneDnn) {
  const auto node = [](int64_t size) {
    const at::Tensor weight = Normal({size, size}, 2).requires_grad_(true);
    return ApplyLinear(Normal({size, size}, 1), weight, {}).grad_fn()->name();
  };
  EXPECT_EQ(node(16).find("OneDnnLinear"), std::string::npos) << node(16);
  EXPECT_NE(node(256).find("OneDnnLinear"), std::string::npos) << node(256);
}

TEST(LinearTest, GivesTheSameBitsEveryTime) {
  const at::Tensor x = Normal({512, 192}, 1);
  const at::Tensor weight = Normal({256, 192}, 2).requires_grad_(true);
  const at::Tensor y = ApplyLinear(x, weight, {});
  const at::Tensor again = ApplyLinear(x, weight, {});
  EXPECT_TRUE(y.equal(again));
  const auto gradient = [&](const at::Tensor& of) {
    return torch::autograd::grad({of}, {weight}, {x.new_ones(of.sizes())})[0];
  };
  EXPECT_TRUE(gradient(y).equal(gradient(again)));
}

TEST(LinearTest, ResultsMayBeChangedInPlace) {
  const at::Tensor x = Normal({512, 192}, 1);
  const at::Tensor weight = Normal({256, 192}, 2).requires_grad_(true);
  const at::Tensor y = ApplyLinear(x, weight, {}).relu_();
  EXPECT_GE(y.min().item<double>(), 0);
  const at::Tensor gradient = torch::autograd::grad({y.sum()}, {weight})[0];
  const at::Tensor active = y.gt(0).to(at::kFloat);
  EXPECT_TRUE(at::allclose(gradient, active.t().mm(x), 1e-4, 1e-3));
}

}  // namespace
}  // namespace fedlb
