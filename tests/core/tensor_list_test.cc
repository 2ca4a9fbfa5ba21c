#include "fedlb/tensor_list.h"

#include <cmath>
#include <limits>
#include <string>

#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>

#include "fedlb/durable_file.h"
#include "fedlb/weighted_mean.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedlb {
namespace {

using ::testing::HasSubstr;

// 1^2 + ... + n^2 = n (n + 1) (2 n + 1) / 6.
TEST(TensorListTest, SquaredNormIsExactForSmallIntegers) {
  for (const int64_t n : {0, 1, 15, 16, 17, 1000}) {
    const double expected = static_cast<double>(n * (n + 1) * (2 * n + 1) / 6);
    for (const at::ScalarType type : {at::kFloat, at::kDouble, at::kLong}) {
      EXPECT_EQ(SquaredNorm({at::arange(1, n + 1).to(type)}), expected);
    }
  }
  EXPECT_EQ(SquaredNorm({at::full({2}, 2.0f), at::full({1}, 3.0f)}), 17);
}

TEST(TensorListTest, SquaredNormOfANonFiniteElementIsNotFinite) {
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()}) {
    for (const int64_t place : {0, 15, 16, 39}) {
      at::Tensor tensor = at::full({40}, 1.0f);
      tensor[place].fill_(bad);
      EXPECT_FALSE(std::isfinite(SquaredNorm({tensor})));
    }
  }
  // Large, but finite: a float's square does not fit into a float.
  EXPECT_TRUE(std::isfinite(
      SquaredNorm({at::full({4}, std::numeric_limits<float>::max())})));
}

TEST(TensorListTest, LayoutErrorsNameTheTensor) {
  const TensorLayout layout = {{"a", {2, 3}, at::kFloat},
                               {"b", {1}, at::kLong}};
  const at::Tensor a = at::full({2, 3}, 1.0f);
  const at::Tensor b = at::full({1}, 1, at::kLong);
  EXPECT_TRUE(CheckLayout(layout, {a, b}).ok());
  EXPECT_THAT(std::string(CheckLayout(layout, {a}).message()),
              HasSubstr("1 tensors instead of 2"));
  EXPECT_THAT(std::string(CheckLayout(layout, {a.t(), b}).message()),
              HasSubstr("tensor a has shape [3, 2] instead of [2, 3]"));
  EXPECT_THAT(std::string(CheckLayout(layout, {a, a}).message()),
              HasSubstr("tensor b"));
  EXPECT_THAT(std::string(CheckLayout(layout, {a, at::Tensor()}).message()),
              HasSubstr("b is missing"));
}

TEST(TensorListTest, DigestIsThatOfTheBytesInOrder) {
  const at::Tensor a = at::arange(6, at::kFloat).view({2, 3});
  const std::string bytes(static_cast<const char*>(a.const_data_ptr()),
                          a.nbytes());
  EXPECT_EQ(Sha256Hex(TensorList{a, a}), Sha256Hex(bytes + bytes));
  // A view is digested as its elements, not as its storage.
  EXPECT_EQ(Sha256Hex(TensorList{a.t().contiguous()}),
            Sha256Hex(TensorList{a.t()}));
}

TEST(TensorListTest, CopiesDoNotAlias) {
  TensorList original = {at::full({3}, 1.0f)};
  TensorList copy = Clone(original);
  AddScaled(original, 2, copy);
  EXPECT_EQ(copy[0][0].item<float>(), 3);
  EXPECT_EQ(original[0][0].item<float>(), 1);
  Scale(-1, copy);
  Copy(copy, original);
  EXPECT_EQ(original[0][2].item<float>(), -3);
}

TEST(WeightedMeanTest, WeighsAndKeepsTypes) {
  WeightedMean mean;
  mean.Begin({{"a", {2}, at::kFloat}, {"steps", {1}, at::kLong}});
  mean.Add({at::full({2}, 1.0f), at::full({1}, 7, at::kLong)}, 3);
  mean.Add({at::full({2}, 5.0f), at::full({1}, 9, at::kLong)}, 1);
  const TensorList result = mean.Mean();
  EXPECT_EQ(result[0].scalar_type(), at::kFloat);
  EXPECT_EQ(result[0][0].item<float>(), 2.0f);
  EXPECT_EQ(result[1][0].item<int64_t>(), 7);  // counters are not averaged
}

TEST(WeightedMeanTest, AMillionEqualTermsDoNotDrift) {
  WeightedMean mean;
  mean.Begin({{"a", {1}, at::kFloat}});
  const at::Tensor term = at::full({1}, 0.1f);
  for (int i = 0; i < 1000000; ++i) {
    mean.Add({term}, 60);
  }
  EXPECT_EQ(mean.Mean()[0].item<float>(), 0.1f);
}

TEST(WeightedMeanTest, StatesOfPartsAddUpToTheWhole) {
  const TensorLayout layout = {{"a", {1}, at::kFloat}};
  WeightedMean whole;
  WeightedMean left;
  WeightedMean right;
  for (WeightedMean* mean : {&whole, &left, &right}) {
    mean->Begin(layout);
  }
  const TensorList one = {at::full({1}, 1.0f)};
  const TensorList four = {at::full({1}, 4.0f)};
  left.Add(one, 2);
  right.Add(four, 1);
  whole.Add(one, 2);
  whole.Add(four, 1);
  const TensorList a = left.LinearState();
  const TensorList b = right.LinearState();
  const TensorList sum = whole.LinearState();
  ASSERT_EQ(sum.size(), 2u);
  for (size_t i = 0; i < sum.size(); ++i) {
    EXPECT_TRUE(sum[i].equal(a[i].add(b[i])));
  }
}

TEST(WeightedMeanTest, BeginForgets) {
  WeightedMean mean;
  const TensorLayout layout = {{"a", {1}, at::kFloat}};
  mean.Begin(layout);
  mean.Add({at::full({1}, 100.0f)}, 1);
  mean.Begin(layout);
  mean.Add({at::full({1}, 2.0f)}, 1);
  EXPECT_EQ(mean.Mean()[0].item<float>(), 2.0f);
}

}  // namespace
}  // namespace fedlb
