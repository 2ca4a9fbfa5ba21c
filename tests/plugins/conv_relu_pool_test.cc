#include "models/conv_relu_pool.h"

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <tuple>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "models/conv_relu_pool_kernels.h"

namespace fedlb::models {
namespace {

struct Sizes {
  int64_t images, channels, height, width, outputs;
};

struct Results {
  at::Tensor pooled, input, weight, bias;
};

at::Tensor Reference(const at::Tensor& input, const at::Tensor& weight,
                     const at::Tensor& bias) {
  const at::Tensor convolved = at::conv2d(input, weight, bias, 1, 1);
  return at::max_pool2d(at::relu(convolved), 2);
}

template <typename F>
Results Evaluate(const F& f, const std::array<at::Tensor, 3>& operands,
                 const at::Tensor& gradient) {
  std::array<at::Tensor, 3> leaves;
  for (size_t i = 0; i < leaves.size(); ++i) {
    leaves[i] = operands[i].detach().clone().requires_grad_();
  }
  Results results;
  results.pooled = f(leaves[0], leaves[1], leaves[2]);
  results.pooled.backward(gradient);
  results.input = leaves[0].grad();
  results.weight = leaves[1].grad();
  results.bias = leaves[2].grad();
  return results;
}

std::array<at::Tensor, 3> Operands(const Sizes& s, at::ScalarType dtype) {
  return {at::randn({s.images, s.channels, s.height, s.width}, dtype),
          at::randn({s.outputs, s.channels, 3, 3}, dtype),
          at::randn({s.outputs}, dtype)};
}

void ExpectNear(const at::Tensor& actual, const at::Tensor& expected) {
  ASSERT_EQ(actual.sizes(), expected.sizes());
  const double tolerance = actual.scalar_type() == at::kFloat ? 2e-6 : 1e-14;
  EXPECT_LE((actual - expected).norm().item<double>(),
            tolerance * expected.norm().item<double>());
}

void ExpectNear(const Results& actual, const Results& expected) {
  ExpectNear(actual.pooled, expected.pooled);
  ExpectNear(actual.input, expected.input);
  ExpectNear(actual.weight, expected.weight);
  ExpectNear(actual.bias, expected.bias);
}

// Every instruction set that this machine has, in both types, over sizes that
// leave every kind of remainder.
using Case = std::tuple<const ConvReluPoolKernelSet*, at::ScalarType, Sizes>;

class ConvReluPoolCase : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    at::manual_seed(3);
    UseConvReluPoolKernelsForTest(std::get<0>(GetParam()));
  }
  void TearDown() override { UseConvReluPoolKernelsForTest(nullptr); }
};

TEST_P(ConvReluPoolCase, EqualsTheThreeOperators) {
  const auto& [kernels, dtype, s] = GetParam();
  const auto operands = Operands(s, dtype);
  const at::Tensor gradient =
      at::randn({s.images, s.outputs, s.height / 2, s.width / 2}, dtype);
  ExpectNear(Evaluate(ConvReluPool, operands, gradient),
             Evaluate(Reference, operands, gradient));
}

TEST_P(ConvReluPoolCase, NeedsNoGradientOfTheInput) {
  const auto& [kernels, dtype, s] = GetParam();
  const auto operands = Operands(s, dtype);
  const auto weight_gradient = [&](const auto& f) {
    const at::Tensor weight = operands[1].clone().requires_grad_();
    f(operands[0], weight, operands[2]).square().sum().backward();
    return weight.grad();
  };
  ExpectNear(weight_gradient(ConvReluPool), weight_gradient(Reference));
}

INSTANTIATE_TEST_SUITE_P(
    All, ConvReluPoolCase,
    ::testing::Combine(
        ::testing::ValuesIn(UsableConvReluPoolKernels()),
        ::testing::Values(at::kFloat, at::kDouble),
        ::testing::Values(Sizes{2, 1, 28, 28, 16}, Sizes{3, 16, 14, 14, 32},
                          Sizes{2, 3, 9, 7, 5}, Sizes{1, 20, 5, 6, 40},
                          Sizes{2, 9, 2, 3, 1}, Sizes{35, 2, 4, 12, 17})),
    [](const auto& info) {
      const Sizes& s = std::get<2>(info.param);
      return std::string(std::get<0>(info.param)->instruction_set) + "_" +
             (std::get<1>(info.param) == at::kFloat ? "float" : "double") +
             "_" + std::to_string(s.channels) + "_to_" +
             std::to_string(s.outputs);
    });

TEST(ConvReluPoolTest, GradientsAreThoseOfFiniteDifferences) {
  at::manual_seed(4);
  const auto operands = Operands({2, 3, 6, 4, 5}, at::kDouble);
  const at::Tensor direction = at::randn({2, 5, 3, 2}, at::kDouble);
  const Results results = Evaluate(ConvReluPool, operands, direction);
  const std::array<at::Tensor, 3> gradients = {results.input, results.weight,
                                               results.bias};
  constexpr double kStep = 1e-6;
  for (size_t i = 0; i < operands.size(); ++i) {
    const at::Tensor flat = operands[i].view(-1);
    for (int64_t k = 0; k < flat.numel(); ++k) {
      const auto value_at = [&](double offset) {
        const double before = flat[k].item<double>();
        flat[k] = before + offset;
        const at::Tensor pooled =
            ConvReluPool(operands[0], operands[1], operands[2]);
        flat[k] = before;
        return (pooled * direction).sum().item<double>();
      };
      const double slope = (value_at(kStep) - value_at(-kStep)) / (2 * kStep);
      EXPECT_NEAR(gradients[i].view(-1)[k].item<double>(), slope, 1e-7)
          << "operand " << i << ", element " << k;
    }
  }
}

// All windows are flat inside: the first pixel is chosen, as LibTorch does.
TEST(ConvReluPoolTest, TiesPassTheGradientToTheFirstPixel) {
  at::manual_seed(5);
  const std::array<at::Tensor, 3> operands = {
      at::ones({1, 2, 8, 8}), at::randn({16, 2, 3, 3}), at::randn({16})};
  const at::Tensor gradient = at::randn({1, 16, 4, 4});
  ExpectNear(Evaluate(ConvReluPool, operands, gradient),
             Evaluate(Reference, operands, gradient));
}

TEST(ConvReluPoolTest, ExactZeroPassesNoGradient) {
  const std::array<at::Tensor, 3> operands = {
      at::zeros({1, 2, 4, 4}), at::ones({16, 2, 3, 3}), at::zeros({16})};
  const Results results =
      Evaluate(ConvReluPool, operands, at::ones({1, 16, 2, 2}));
  EXPECT_EQ(results.bias.abs().max().item<float>(), 0);
  EXPECT_EQ(results.input.abs().max().item<float>(), 0);
}

TEST(ConvReluPoolTest, NotANumberIsNeverLost) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (int64_t pixel = 0; pixel < 36; ++pixel) {
    at::Tensor input = at::zeros({1, 1, 6, 6});
    input.view(-1)[pixel] = nan;
    const at::Tensor weight = at::ones({3, 1, 3, 3});
    const at::Tensor bias = at::full({3}, -1.0f);
    EXPECT_TRUE(at::equal(at::isnan(ConvReluPool(input, weight, bias)),
                          at::isnan(Reference(input, weight, bias))))
        << pixel;
  }
}

TEST(ConvReluPoolTest, ThreadsDoNotChangeTheBits) {
  at::manual_seed(6);
  const auto operands = Operands({70, 16, 14, 14, 32}, at::kFloat);
  const at::Tensor gradient = at::randn({70, 32, 7, 7});
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const Results one = Evaluate(ConvReluPool, operands, gradient);
  at::set_num_threads(3);
  const Results three = Evaluate(ConvReluPool, operands, gradient);
  at::set_num_threads(before);
  EXPECT_TRUE(at::equal(one.pooled, three.pooled));
  EXPECT_TRUE(at::equal(one.input, three.input));
  EXPECT_TRUE(at::equal(one.weight, three.weight));
  EXPECT_TRUE(at::equal(one.bias, three.bias));
}

TEST(ConvReluPoolTest, AnImageDoesNotDependOnItsBatch) {
  at::manual_seed(7);
  const auto operands = Operands({9, 1, 28, 28, 16}, at::kFloat);
  const at::Tensor all = ConvReluPool(operands[0], operands[1], operands[2]);
  for (int64_t i = 0; i < 9; ++i) {
    EXPECT_TRUE(at::equal(
        ConvReluPool(operands[0].narrow(0, i, 1), operands[1], operands[2]),
        all.narrow(0, i, 1)));
  }
}

TEST(ConvReluPoolTest, AnyMemoryLayoutIsTaken) {
  at::manual_seed(8);
  const auto operands = Operands({2, 16, 8, 10, 16}, at::kFloat);
  const at::Tensor expected =
      ConvReluPool(operands[0], operands[1], operands[2]);
  EXPECT_TRUE(expected.is_contiguous(at::MemoryFormat::ChannelsLast));
  const at::Tensor transposed =
      operands[0].transpose(2, 3).contiguous().transpose(2, 3);
  const at::Tensor weight =
      operands[1].contiguous(at::MemoryFormat::ChannelsLast);
  EXPECT_TRUE(
      at::equal(ConvReluPool(transposed, weight, operands[2]), expected));
}

TEST(ConvReluPoolTest, OtherOperandsGoToTheOperators) {
  at::manual_seed(9);
  const auto operands = Operands({2, 3, 8, 8, 4}, at::kFloat);
  const at::Tensor half =
      ConvReluPool(operands[0].to(at::kBFloat16), operands[1].to(at::kBFloat16),
                   operands[2].to(at::kBFloat16));
  EXPECT_EQ(half.scalar_type(), at::kBFloat16);
  const at::Tensor none =
      ConvReluPool(operands[0].narrow(0, 0, 0), operands[1], operands[2]);
  EXPECT_THAT(none.sizes(), ::testing::ElementsAre(0, 4, 4, 4));
  EXPECT_THROW(
      ConvReluPool(operands[0].narrow(1, 0, 2), operands[1], operands[2]),
      c10::Error);
}

TEST(ConvReluPoolTest, ASecondDerivativeIsRefused) {
  auto operands = Operands({1, 1, 4, 4, 2}, at::kFloat);
  operands[1].requires_grad_();
  const at::Tensor loss =
      ConvReluPool(operands[0], operands[1], operands[2]).sum();
  EXPECT_THROW(torch::autograd::grad({loss}, {operands[1]}, {},
                                     /*retain_graph=*/true,
                                     /*create_graph=*/true),
               c10::Error);
}

}  // namespace
}  // namespace fedlb::models
