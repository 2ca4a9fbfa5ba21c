#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "compression/adaptive.h"
#include "compression/half.h"
#include "compression/int8.h"
#include "compression/none.h"
#include "compression/powersgd.h"
#include "compression/qsgd.h"
#include "compression/randomk.h"
#include "compression/select_largest.h"
#include "compression/signsgd.h"
#include "compression/terngrad.h"
#include "compression/topk.h"
#include "fedlb/plugin.h"
#include "fedlb/random.h"
#include "fedlb/registry.h"
#include "fedlb/round_task.h"
#include "fedlb/status.h"
#include "fedlb/tensor_list.h"
#include "plugins/make_component.h"

namespace fedlb {
namespace {

using compression::Adaptive;
using compression::Half;
using compression::Int8;
using compression::None;
using compression::PowerSgd;
using compression::Qsgd;
using compression::RandomK;
using compression::SelectLargest;
using compression::SignSgd;
using compression::TernGrad;
using compression::TopK;
using ::testing::Each;
using ::testing::ElementsAre;

using Values = std::vector<float>;

Update UpdateOf(const std::vector<Values>& tensors, int64_t client = 0,
                int64_t round = 0) {
  Update update;
  update.client = client;
  update.round = round;
  for (const Values& values : tensors) {
    update.groups[kParametersGroup].push_back(at::tensor(values));
  }
  return update;
}

Values ValuesOf(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.to(at::kFloat).contiguous();
  const auto* const data = flat.const_data_ptr<float>();
  return {data, data + flat.numel()};
}

Values RandomValues(int64_t count, uint64_t seed) {
  RandomStream random({.seed = seed, .purpose = "test_values"});
  Values values;
  for (int64_t i = 0; i < count; ++i) {
    values.push_back(static_cast<float>(random.Normal()));
  }
  return values;
}

// What the server makes of it.
TensorList Travelled(const Compressor& compressor, Update update,
                     ComponentState& residual) {
  const TensorLayout layout = LayoutOf(update.parameters());
  EXPECT_TRUE(compressor.Compress(update, residual).ok());
  EXPECT_FALSE(update.groups.contains(kParametersGroup));
  const absl::Status status = compressor.Decompress(layout, update);
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(update.groups.size(), 1U);
  return update.parameters();
}
TensorList Travelled(const Compressor& compressor, Update update) {
  ComponentState residual;
  return Travelled(compressor, std::move(update), residual);
}

int64_t EncodedBytes(const Compressor& compressor, Update update) {
  ComponentState residual;
  EXPECT_TRUE(compressor.Compress(update, residual).ok());
  int64_t bytes = 0;
  for (const auto& [name, tensors] : update.groups) {
    bytes += NumBytes(tensors);
  }
  return bytes;
}

TEST(NoneTest, AnUpdateComesBackBitForBit) {
  const auto compressor = Make<None>("");
  Update update = UpdateOf({{0.1F, -0.0F}});
  const std::string before = Sha256Hex(update.parameters());
  ComponentState residual;
  ASSERT_TRUE(compressor->Compress(update, residual).ok());
  ASSERT_TRUE(compressor->Decompress({{"w", {2}, at::kFloat}}, update).ok());
  EXPECT_EQ(Sha256Hex(update.parameters()), before);
  EXPECT_TRUE(residual.empty());
  EXPECT_EQ(compressor->BytesPerClient({{"w", {2}, at::kFloat}}), 0);
}

TEST(NoneTest, WhatDoesNotFitTheLayoutIsRefused) {
  const auto compressor = Make<None>("");
  Update update;
  EXPECT_EQ(compressor->Decompress({{"w", {2}, at::kFloat}}, update).code(),
            absl::StatusCode::kInvalidArgument);
  update = UpdateOf({{0.1F}});
  EXPECT_EQ(compressor->Decompress({{"w", {2}, at::kFloat}}, update).code(),
            absl::StatusCode::kInvalidArgument);
}

// Against sorting, with values that are equal, zero, infinite and denormal.
TEST(SelectLargestTest, IsWhatSortingSays) {
  RandomStream random({.seed = 3, .purpose = "select"});
  for (int trial = 0; trial < 300; ++trial) {
    Values values = RandomValues(1 + static_cast<int64_t>(random.Below(500)),
                                 static_cast<uint64_t>(trial));
    for (float& value : values) {
      switch (random.Below(8)) {
        case 0:
          value = 0;
          break;
        case 1:
          value = random.Below(2) == 0 ? 1.5F : -1.5F;
          break;
        case 2:
          value *= 1e-40F;
          break;
        case 3:
          value = random.Below(9) == 0 ? HUGE_VALF : value;
          break;
        default:
          break;
      }
    }
    std::vector<int32_t> order(values.size());
    for (size_t i = 0; i < order.size(); ++i) {
      order[i] = static_cast<int32_t>(i);
    }
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
      return std::abs(values[static_cast<size_t>(a)]) >
             std::abs(values[static_cast<size_t>(b)]);
    });
    const auto count = static_cast<int64_t>(random.Below(values.size() + 1));
    std::vector<int32_t> chosen = {-7};
    SelectLargest(values, count, chosen);
    std::vector<int32_t> expected(order.begin(), order.begin() + count);
    std::sort(expected.begin(), expected.end());
    expected.insert(expected.begin(), -7);
    ASSERT_EQ(chosen, expected) << trial;
  }
}

TEST(TopKTest, SendsTheLargestAndRemembersTheRest) {
  const auto compressor = Make<TopK>("ratio = 0.5");
  ComponentState residual;
  // Of three values one, of one value one.
  TensorList sent =
      Travelled(*compressor, UpdateOf({{1, -4, 2}, {0.5F}}), residual);
  EXPECT_THAT(ValuesOf(sent[0]), ElementsAre(0, -4, 0));
  EXPECT_THAT(ValuesOf(sent[1]), ElementsAre(0.5F));
  EXPECT_THAT(ValuesOf(residual.tensors.at("residual")[0]),
              ElementsAre(1, 0, 2));
  // 1 + 1.5, 1, 2 + 0.25.
  sent = Travelled(*compressor, UpdateOf({{1.5F, 1, 0.25F}, {1}}), residual);
  EXPECT_THAT(ValuesOf(sent[0]), ElementsAre(2.5F, 0, 0));
  EXPECT_THAT(ValuesOf(residual.tensors.at("residual")[0]),
              ElementsAre(0, 1, 2.25F));
}

TEST(TopKTest, CountsAsManyAsItsRatioSays) {
  // max(1, floor(0.29 * 100)) + max(1, floor(0.29 * 3)), 8 bytes each.
  EXPECT_EQ(EncodedBytes(*Make<TopK>("ratio = 0.29"),
                         UpdateOf({RandomValues(100, 1), {1, 2, 3}})),
            30 * 8);
  EXPECT_THAT(
      ValuesOf(Travelled(*Make<TopK>("ratio = 1.0"), UpdateOf({{3, -1}}))[0]),
      ElementsAre(3, -1));
}

TEST(TopKTest, RefusesIndicesThatAreNone) {
  const auto compressor = Make<TopK>("ratio = 0.5");
  for (const std::vector<int32_t>& bad :
       {std::vector<int32_t>{0, 4}, {-1, 2}, {2, 2}, {3, 1}}) {
    Update update = UpdateOf({{4, 3, 2, 1}});
    ComponentState residual;
    ASSERT_TRUE(compressor->Compress(update, residual).ok());
    auto& encoded = update.groups.at("compressed.topk");
    encoded[1] = at::tensor(bad);
    EXPECT_EQ(compressor->Decompress({{"w", {4}, at::kFloat}}, update).code(),
              absl::StatusCode::kInvalidArgument);
  }
}

// What arrives plus what is remembered is what there was, bit for bit where
// nothing is rounded, in every round.
template <typename C>
void ExpectNothingIsLost(const std::string& options, double tolerance) {
  const auto compressor = Make<C>(options);
  ComponentState residual;
  std::vector<double> all(1000);
  std::vector<double> arrived(1000);
  for (uint64_t round = 0; round < 20; ++round) {
    const Values values = RandomValues(1000, round);
    Update update = UpdateOf({values}, 0, static_cast<int64_t>(round));
    update.parameters()[0] = update.parameters()[0].reshape({20, 50});
    const Values sent =
        ValuesOf(Travelled(*compressor, std::move(update), residual)[0]);
    const Values left = ValuesOf(residual.tensors.at("residual")[0]);
    for (size_t i = 0; i < values.size(); ++i) {
      all[i] += static_cast<double>(values[i]);
      arrived[i] += static_cast<double>(sent[i]);
      ASSERT_NEAR(arrived[i] + static_cast<double>(left[i]), all[i], tolerance)
          << C::kName << " round " << round << " value " << i;
    }
  }
}

TEST(ErrorFeedbackTest, NothingIsLost) {
  constexpr double kRounding = 2e-5;  // of 20 sums of floats
  ExpectNothingIsLost<TopK>("ratio = 0.03", kRounding);
  ExpectNothingIsLost<RandomK>("ratio = 0.1", kRounding);
  ExpectNothingIsLost<SignSgd>("", kRounding);
  ExpectNothingIsLost<PowerSgd>("rank = 2", kRounding);
  ExpectNothingIsLost<Qsgd>("levels = 7\nerror_feedback = true", kRounding);
  ExpectNothingIsLost<Int8>("error_feedback = true", kRounding);
  ExpectNothingIsLost<TernGrad>("error_feedback = true", kRounding);
  ExpectNothingIsLost<Half>("error_feedback = true", kRounding);
}

// The mean over many clients' random numbers, in standard errors.
template <typename C>
void ExpectUnbiased(const std::string& options, const Values& values,
                    const Values& expected) {
  constexpr int64_t kClients = 4000;
  const auto compressor = Make<C>(options);
  std::vector<double> sums(values.size());
  std::vector<double> squares(values.size());
  for (int64_t client = 0; client < kClients; ++client) {
    const Values sent =
        ValuesOf(Travelled(*compressor, UpdateOf({values}, client, 5))[0]);
    for (size_t i = 0; i < values.size(); ++i) {
      sums[i] += static_cast<double>(sent[i]);
      squares[i] += static_cast<double>(sent[i]) * static_cast<double>(sent[i]);
    }
  }
  int beyond_two = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double mean = sums[i] / kClients;
    const double variance = squares[i] / kClients - mean * mean;
    const double error = std::sqrt(std::max(variance, 0.0) / kClients) + 1e-9;
    const double z = (mean - static_cast<double>(expected[i])) / error;
    EXPECT_LT(std::abs(z), 4) << C::kName << " value " << i;
    beyond_two += std::abs(z) > 2 ? 1 : 0;
  }
  // 5 % of them should be; more than 15 % of 64 has a chance of 1 in 1,000.
  EXPECT_LT(beyond_two, 10) << C::kName;
}

TEST(UnbiasedTest, TheMeanIsTheUpdate) {
  const Values values = RandomValues(64, 9);
  ExpectUnbiased<RandomK>("ratio = 0.25\nunbiased = true", values, values);
  ExpectUnbiased<Qsgd>("levels = 1", values, values);
  ExpectUnbiased<Qsgd>("levels = 7\nbucket = 32", values, values);
  ExpectUnbiased<Qsgd>("", values, values);
  ExpectUnbiased<Int8>("rounding = 'stochastic'", values, values);
  ExpectUnbiased<TernGrad>("clip = 100.0", values, values);
  // Clipped at one standard deviation.
  double mean = 0;
  double square = 0;
  for (const float value : values) {
    mean += static_cast<double>(value) / 64;
    square += static_cast<double>(value) * static_cast<double>(value) / 64;
  }
  const auto limit = static_cast<float>(std::sqrt(square - mean * mean));
  Values clipped = values;
  for (float& value : clipped) {
    value = std::clamp(value, -limit, limit);
  }
  ExpectUnbiased<TernGrad>("clip = 1.0", values, clipped);
}

TEST(RandomKTest, ServerAndClientAgreeOnThePlaces) {
  const auto compressor = Make<RandomK>("ratio = 0.1");
  const Values values = RandomValues(100, 2);
  const Values sent = ValuesOf(Travelled(*compressor, UpdateOf({values}))[0]);
  int kept = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    EXPECT_TRUE(sent[i] == 0 || sent[i] == values[i]);
    kept += sent[i] != 0 ? 1 : 0;
  }
  EXPECT_EQ(kept, 10);
  EXPECT_NE(ValuesOf(Travelled(*compressor, UpdateOf({values}, 1))[0]), sent);
  EXPECT_NE(ValuesOf(Travelled(*compressor, UpdateOf({values}, 0, 1))[0]),
            sent);
  EXPECT_EQ(EncodedBytes(*compressor, UpdateOf({values})), 10 * 4);
}

// Codes of 2, 4 and 8 bits, and a scale for every started bucket of each
// tensor.
TEST(QuantizationTest, BytesAreThoseOfTheCodes) {
  const std::vector<Values> tensors = {RandomValues(1001, 1),
                                       RandomValues(3, 2)};
  EXPECT_EQ(EncodedBytes(*Make<Qsgd>("levels = 1"), UpdateOf(tensors)),
            251 + 1 + 4 * (8 + 1));
  EXPECT_EQ(EncodedBytes(*Make<Qsgd>("levels = 7"), UpdateOf(tensors)),
            501 + 2 + 4 * (8 + 1));
  EXPECT_EQ(EncodedBytes(*Make<Qsgd>("levels = 8"), UpdateOf(tensors)),
            1001 + 3 + 4 * (8 + 1));
  EXPECT_EQ(EncodedBytes(*Make<Int8>(""), UpdateOf(tensors)),
            1001 + 3 + 4 * (1 + 1));
  EXPECT_EQ(EncodedBytes(*Make<TernGrad>(""), UpdateOf(tensors)),
            251 + 1 + 4 * 2);
  EXPECT_EQ(EncodedBytes(*Make<SignSgd>(""), UpdateOf(tensors)),
            126 + 1 + 4 * 2);
  EXPECT_EQ(EncodedBytes(*Make<Half>(""), UpdateOf(tensors)), 1004 * 2);
}

// Levels 0, 1/2 and 1 of the norm 5: multiples of 2.5.
TEST(QsgdTest, ValuesAreLevelsOfTheNorm) {
  const auto compressor = Make<Qsgd>("levels = 2\nbucket = 4");
  for (int64_t client = 0; client < 50; ++client) {
    const Values sent =
        ValuesOf(Travelled(*compressor, UpdateOf({{3, -4, 0, 0}}, client))[0]);
    EXPECT_TRUE(sent[0] == 2.5F || sent[0] == 5) << sent[0];
    EXPECT_TRUE(sent[1] == -2.5F || sent[1] == -5) << sent[1];
    EXPECT_EQ(sent[2], 0);
  }
}

TEST(QuantizationTest, ZerosAndTinyNumbersStayFinite) {
  for (const Values& values :
       {Values{0, 0, 0, 0, 0}, Values{1e-45F, 0, -1e-45F, 0, 0}}) {
    for (const float value :
         ValuesOf(Travelled(*Make<Qsgd>(""), UpdateOf({values}))[0])) {
      EXPECT_TRUE(std::isfinite(value) && std::abs(value) < 1e-44F) << value;
    }
    for (const float value :
         ValuesOf(Travelled(*Make<Int8>(""), UpdateOf({values}))[0])) {
      EXPECT_TRUE(std::isfinite(value) && std::abs(value) < 1e-44F) << value;
    }
    EXPECT_THAT(
        ValuesOf(Travelled(*Make<TernGrad>(""), UpdateOf({{0, 0, 0}}))[0]),
        Each(0));
  }
}

// A code beyond the last level would come back with the other sign.
TEST(QuantizationTest, TheLargestValueStaysWhatItIs) {
  const Values ones(3'000'000, 1.0F);
  EXPECT_THAT(ValuesOf(Travelled(*Make<Int8>("rounding = 'stochastic'"),
                                 UpdateOf({ones}))[0]),
              Each(1.0F));
  // A tensor whose values are equal has no standard deviation to be clipped at.
  EXPECT_THAT(ValuesOf(Travelled(*Make<TernGrad>(""), UpdateOf({ones}))[0]),
              Each(1.0F));
  EXPECT_THAT(ValuesOf(Travelled(*Make<TernGrad>(""), UpdateOf({{-3}}))[0]),
              ElementsAre(-3));
}

TEST(QuantizationTest, NothingComesOfZero) {
  const Values zeros(3'000'000, 0.0F);
  EXPECT_THAT(ValuesOf(Travelled(*Make<Qsgd>(""), UpdateOf({zeros}))[0]),
              Each(0.0F));
}

// Buckets end with a byte, or their codes would run into each other.
TEST(QuantizationTest, BucketsAreMultiplesOfFour) {
  EXPECT_EQ(FailureOf(TryMake<Qsgd>("levels = 7\nbucket = 5").status()),
            Failure::kConfig);
  EXPECT_FALSE(TryMake<Int8>("bucket = 1025").ok());
  EXPECT_FALSE(TryMake<Int8>("bucket = 4611686018427387904").ok());
}

// What is not finite must not arrive as something finite.
TEST(QuantizationTest, InfinitiesDoNotPass) {
  const Values values = {1, HUGE_VALF, 2, 3};
  const auto arrives_finite = [&values](const Compressor& compressor) {
    const Values sent = ValuesOf(Travelled(compressor, UpdateOf({values}))[0]);
    return std::all_of(sent.begin(), sent.end(),
                       [](float value) { return std::isfinite(value); });
  };
  EXPECT_FALSE(arrives_finite(*Make<Int8>("")));
  EXPECT_FALSE(arrives_finite(*Make<Qsgd>("")));
  EXPECT_FALSE(arrives_finite(*Make<TernGrad>("")));
  EXPECT_FALSE(arrives_finite(*Make<SignSgd>("")));
  EXPECT_FALSE(arrives_finite(*Make<TopK>("ratio = 0.25")));
}

TEST(Int8Test, IsOffByHalfAStepAtMost) {
  const Values values = RandomValues(3000, 4);
  const Values sent =
      ValuesOf(Travelled(*Make<Int8>("bucket = 512"), UpdateOf({values}))[0]);
  for (size_t begin = 0; begin < values.size(); begin += 512) {
    const size_t end = std::min(values.size(), begin + 512);
    float largest = 0;
    for (size_t i = begin; i < end; ++i) {
      largest = std::max(largest, std::abs(values[i]));
    }
    for (size_t i = begin; i < end; ++i) {
      EXPECT_LE(std::abs(sent[i] - values[i]), largest / 254 * 1.0001F) << i;
    }
  }
}

TEST(SignSgdTest, SignsTimesTheMeanMagnitude) {
  const auto compressor = Make<SignSgd>("error_feedback = false");
  EXPECT_THAT(ValuesOf(Travelled(
                  *compressor, UpdateOf({{1, -2, 3, -4, 5, 0, -7, 8, 6}}))[0]),
              ElementsAre(4, -4, 4, -4, 4, 4, -4, 4, 4));
  const Values values = RandomValues(10'007, 5);
  const Values sent = ValuesOf(Travelled(*compressor, UpdateOf({values}))[0]);
  double sum = 0;
  for (const float value : values) {
    sum += static_cast<double>(std::abs(value));
  }
  for (size_t i = 0; i < values.size(); ++i) {
    ASSERT_EQ(std::signbit(sent[i]), std::signbit(values[i])) << i;
    ASSERT_NEAR(std::abs(sent[i]), sum / 10'007, 1e-6);
  }
}

TEST(HalfTest, KeepsWhatFits) {
  const Values values = {1, -0.5F, 3.140625F, 65504, 1e30F, -1e30F};
  EXPECT_THAT(ValuesOf(Travelled(*Make<Half>("format = 'fp16'"),
                                 UpdateOf({values}))[0]),
              ElementsAre(1, -0.5F, 3.140625F, 65504, 65504, -65504));
  const Values bf16 =
      ValuesOf(Travelled(*Make<Half>(""), UpdateOf({values}))[0]);
  EXPECT_EQ(bf16[2], 3.140625F);
  EXPECT_NEAR(bf16[4], 1e30F, 4e27F);
}

// u v^T + x y^T is of rank 2: one half-iteration finds all of it.
TEST(PowerSgdTest, MatricesOfLowRankArriveWhole) {
  const Values left = RandomValues(80, 1);
  const Values right = RandomValues(120, 2);
  const at::Tensor matrix =
      at::tensor(left).reshape({40, 2}).mm(at::tensor(right).reshape({2, 60}));
  Update update;
  update.groups[kParametersGroup] = {matrix.reshape({40, 6, 10}),
                                     at::tensor({1.0F, 2.0F})};
  const auto compressor = Make<PowerSgd>("rank = 2");
  EXPECT_EQ(EncodedBytes(*compressor, update), (2 * (40 + 60) + 2) * 4);
  const TensorList sent = Travelled(*compressor, update);
  EXPECT_TRUE(sent[0].allclose(matrix.reshape({40, 6, 10}), 1e-4, 1e-4));
  EXPECT_THAT(ValuesOf(sent[1]), ElementsAre(1, 2));
}

// golden/powersgd.py: PyTorch's hook with one process.
TEST(PowerSgdTest, IsPyTorchsHook) {
  constexpr int64_t kRows = 24;
  constexpr int64_t kColumns = 40;
  constexpr int64_t kRank = 4;
  const auto compressor = Make<PowerSgd>("rank = 4");
  ComponentState residual;
  Values q;
  for (int64_t j = 0; j < kColumns; ++j) {
    for (int64_t k = 0; k < kRank; ++k) {
      q.push_back(static_cast<float>(
          std::cos(0.3 * static_cast<double>((j + 1) * (k + 1)))));
    }
  }
  residual.tensors["q"] = {at::tensor(q).reshape({kColumns, kRank})};
  const double expected[3][5] = {
      {0.730449, 0.025625, 0.0015, -0.088168, 44.02841},
      {1.033344, 0.342821, 0.010329, -0.237535, 50.64267},
      {0.8668, 0.127159, 0.000881, 0.111291, 45.97908}};
  for (int64_t step = 0; step < 3; ++step) {
    Values gradient;
    for (int64_t i = 0; i < kRows; ++i) {
      for (int64_t j = 0; j < kColumns; ++j) {
        const auto product = static_cast<double>((i + 1) * (j + 2));
        gradient.push_back(static_cast<float>(
            std::sin(0.37 * product + static_cast<double>(step)) /
            (1 + 0.05 * static_cast<double>(i * j))));
      }
    }
    Update update;
    update.groups[kParametersGroup] = {
        at::tensor(gradient).reshape({kRows, kColumns})};
    const TensorList sent = Travelled(*compressor, std::move(update), residual);
    const int64_t places[4][2] = {{0, 0}, {3, 7}, {23, 39}, {11, 2}};
    for (size_t n = 0; n < 4; ++n) {
      EXPECT_NEAR(sent[0][places[n][0]][places[n][1]].item<double>(),
                  expected[step][n], 2e-5)
          << step << " " << n;
    }
    EXPECT_NEAR(SquaredNorm(sent), expected[step][4], 1e-3) << step;
  }
}

TEST(PowerSgdTest, SmallMatricesTravelAsTheyAre) {
  Update update;
  update.groups[kParametersGroup] = {
      at::tensor(RandomValues(48, 1)).reshape({6, 8})};
  const TensorList sent = Travelled(*Make<PowerSgd>("rank = 2"), update);
  EXPECT_TRUE(sent[0].equal(update.parameters()[0]));
}

// topk of one value of four or of two.
class AdaptiveTest : public ::testing::Test {
 protected:
  AdaptiveTest() {
    PluginRegistrar registrar;
    registrar.Add<TopK>();
    registrar.Add<PowerSgd>();
    registrar.Add<Adaptive>();
    EXPECT_TRUE(
        registry_.Add({.name = "test"}, std::move(registrar.entries())).ok());
    context_.registry = &registry_;
  }
  std::unique_ptr<Adaptive> MakeAdaptive(const std::string& options) {
    return Make<Adaptive>(options +
                              "\nmild = {name = 'topk', ratio = 0.5}\n"
                              "strong = {name = 'topk', ratio = 0.25}",
                          context_);
  }
  static Update Critical(const Values& values, bool critical) {
    Update update = UpdateOf({values});
    update.scalars["critical"] = critical ? 1 : 0;
    return update;
  }

  ComponentRegistry registry_;
  ComponentContext context_;
};

TEST_F(AdaptiveTest, IsMildInCriticalPhases) {
  const auto compressor = MakeAdaptive("");
  ComponentState residual;
  EXPECT_THAT(ValuesOf(Travelled(*compressor, Critical({4, 3, 2, 1}, true),
                                 residual)[0]),
              ElementsAre(4, 3, 0, 0));
  // What the mild one owes the strong one sends: 0, 0, 2, 1 are left.
  EXPECT_THAT(ValuesOf(Travelled(*compressor, Critical({0, 0, 2, 1}, false),
                                 residual)[0]),
              ElementsAre(0, 0, 4, 0));
}

// Of 16 + 9 + 4 + 1 the largest value keeps 53 %, of 4 x 4 only 25 %.
TEST_F(AdaptiveTest, IsMildWhereMuchWouldBeLost) {
  const auto compressor = MakeAdaptive("mild_when = 'lossy'\nmin_kept = 0.5");
  EXPECT_THAT(ValuesOf(Travelled(*compressor, Critical({4, 3, 2, 1}, true))[0]),
              ElementsAre(4, 0, 0, 0));
  EXPECT_THAT(
      ValuesOf(Travelled(*compressor, Critical({2, 2, 2, 2}, false))[0]),
      ElementsAre(2, 2, 0, 0));
  // 1 and 4 owed: 5 of 2, 2, 2, 5 keeps 68 %.
  ComponentState residual;
  residual.tensors["residual"] = {at::tensor({0.0F, 0.0F, 0.0F, 4.0F})};
  EXPECT_THAT(ValuesOf(Travelled(*compressor, Critical({2, 2, 2, 1}, true),
                                 residual)[0]),
              ElementsAre(0, 0, 0, 5));
}

// Each has factors of its own rank.
TEST_F(AdaptiveTest, BothRememberWhatIsTheirs) {
  const auto compressor = Make<Adaptive>(
      "mild = {name = 'powersgd', rank = 4}\n"
      "strong = {name = 'powersgd', rank = 1}",
      context_);
  ComponentState residual;
  for (const bool critical : {true, false, true, false}) {
    Update update = Critical(RandomValues(2400, 1), critical);
    update.parameters()[0] = update.parameters()[0].reshape({40, 60});
    Travelled(*compressor, std::move(update), residual);
  }
  EXPECT_THAT(residual.tensors.at("mild/q")[0].sizes().vec(),
              ElementsAre(60, 4));
  EXPECT_THAT(residual.tensors.at("strong/q")[0].sizes().vec(),
              ElementsAre(60, 1));
}

TEST_F(AdaptiveTest, DoesNotContainItself) {
  EXPECT_EQ(
      FailureOf(
          TryMake<Adaptive>("mild = {name = 'adaptive'}", context_).status()),
      Failure::kConfig);
}

}  // namespace
}  // namespace fedlb
