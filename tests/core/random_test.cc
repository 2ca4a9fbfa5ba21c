#include "fedlb/random.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <vector>

#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedlb {
namespace {

RandomKey Key(int64_t step) {
  return {.seed = 7, .purpose = "test", .step = step};
}

TEST(RandomKeyTest, EveryPartOfTheKeyChangesTheNumbers) {
  const RandomKey base = {
      .seed = 1, .purpose = "a", .round = 2, .client = 3, .step = 4};
  std::set<uint64_t> hashes = {HashKey(base)};
  RandomKey key = base;
  key.seed = 2;
  hashes.insert(HashKey(key));
  key = base;
  key.purpose = "b";
  hashes.insert(HashKey(key));
  key = base;
  key.round = 3;
  hashes.insert(HashKey(key));
  key = base;
  key.client = 2;  // round and client swapped
  key.round = 3;
  hashes.insert(HashKey(key));
  key = base;
  key.step = 5;
  hashes.insert(HashKey(key));
  EXPECT_EQ(hashes.size(), 6u);
}

TEST(RandomStreamTest, SameKeySameNumbers) {
  RandomStream a(Key(1));
  RandomStream b(Key(1));
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(a(), b());
  }
}

// n uniform draws: mean 1/2 with standard deviation 1/sqrt(12 n).
TEST(RandomStreamTest, UniformHasItsMeanAndStaysBelowOne) {
  RandomStream stream(Key(2));
  constexpr int kDraws = 100000;
  double sum = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double value = stream.Uniform();
    ASSERT_GE(value, 0);
    ASSERT_LT(value, 1);
    sum += value;
  }
  EXPECT_NEAR(sum / kDraws, 0.5, 5 / std::sqrt(12.0 * kDraws));
}

TEST(RandomStreamTest, BelowIsUniformOverSmallRanges) {
  RandomStream stream(Key(3));
  constexpr int kDraws = 70000;
  std::vector<int> counts(7);
  for (int i = 0; i < kDraws; ++i) {
    const uint64_t value = stream.Below(7);
    ASSERT_LT(value, 7u);
    ++counts[value];
  }
  // Binomial(70000, 1/7): mean 10000, standard deviation 92.6.
  for (const int count : counts) {
    EXPECT_NEAR(count, 10000, 5 * 92.6);
  }
}

TEST(RandomStreamTest, NormalHasItsFirstFourMoments) {
  RandomStream stream(Key(4));
  constexpr int kDraws = 200000;
  double sums[4] = {};
  for (int i = 0; i < kDraws; ++i) {
    const double x = stream.Normal();
    double power = 1;
    for (double& sum : sums) {
      power *= x;
      sum += power;
    }
  }
  // Variances of x, x^2, x^3, x^4 are 1, 2, 15, 96.
  const double root = std::sqrt(static_cast<double>(kDraws));
  EXPECT_NEAR(sums[0] / kDraws, 0, 5 * std::sqrt(1.0) / root);
  EXPECT_NEAR(sums[1] / kDraws, 1, 5 * std::sqrt(2.0) / root);
  EXPECT_NEAR(sums[2] / kDraws, 0, 5 * std::sqrt(15.0) / root);
  EXPECT_NEAR(sums[3] / kDraws, 3, 5 * std::sqrt(96.0) / root);
}

// Gamma(a, 1) has mean a and variance a.
TEST(RandomStreamTest, GammaHasItsMeanAndVariance) {
  for (const double shape : {0.1, 0.5, 1.0, 3.7}) {
    RandomStream stream(Key(static_cast<int64_t>(shape * 10)));
    constexpr int kDraws = 200000;
    double sum = 0;
    double squares = 0;
    for (int i = 0; i < kDraws; ++i) {
      const double x = stream.Gamma(shape);
      sum += x;
      squares += (x - shape) * (x - shape);
    }
    const double root = std::sqrt(static_cast<double>(kDraws));
    EXPECT_NEAR(sum / kDraws, shape, 5 * std::sqrt(shape) / root);
    // The fourth central moment is 3 a^2 + 6 a.
    const double spread = std::sqrt(3 * shape * shape + 6 * shape -
                                    shape * shape);
    EXPECT_NEAR(squares / kDraws, shape, 5 * spread / root);
  }
}

TEST(RandomStreamTest, DirichletSumsToOneEvenWhenEveryGammaUnderflows) {
  RandomStream stream(Key(6));
  const std::vector<double> tiny(10, 1e-6);
  for (int i = 0; i < 200; ++i) {
    const std::vector<double> draw = stream.Dirichlet(tiny);
    EXPECT_NEAR(std::accumulate(draw.begin(), draw.end(), 0.0), 1, 1e-12);
    for (const double share : draw) {
      ASSERT_TRUE(std::isfinite(share));
    }
  }
}

TEST(RandomStreamTest, SampleWithoutReplacementIsASubset) {
  RandomStream stream(Key(7));
  const auto sample = stream.SampleWithoutReplacement(1'000'000'000'000, 1000);
  EXPECT_EQ(std::set<int64_t>(sample.begin(), sample.end()).size(), 1000u);
  const auto all = stream.SampleWithoutReplacement(5, 5);
  EXPECT_THAT(all, testing::UnorderedElementsAre(0, 1, 2, 3, 4));
}

TEST(ShuffledOrderTest, IsAPermutationForEverySize) {
  std::vector<int64_t> sizes(300);
  std::iota(sizes.begin(), sizes.end(), 1);
  const int64_t large = ShuffledOrder::kMaxShuffled;
  sizes.insert(sizes.end(), {large, large + 1, 4 * large, 60000});
  for (const int64_t size : sizes) {
    const ShuffledOrder order(Key(size), size);
    std::vector<bool> seen(static_cast<size_t>(size));
    for (int64_t i = 0; i < size; ++i) {
      const int64_t value = order[i];
      ASSERT_GE(value, 0);
      ASSERT_LT(value, size);
      ASSERT_FALSE(seen[static_cast<size_t>(value)]);
      seen[static_cast<size_t>(value)] = true;
    }
  }
}

// Over many keys every element comes first equally often, and what comes
// second is independent of what came first.
TEST(ShuffledOrderTest, FirstTwoPlacesAreUniform) {
  constexpr int64_t kSize = 10;
  constexpr int kKeys = 90000;
  std::vector<int> pairs(kSize * kSize);
  for (int key = 0; key < kKeys; ++key) {
    const ShuffledOrder order(Key(key), kSize);
    ++pairs[static_cast<size_t>(order[0] * kSize + order[1])];
  }
  // 90 pairs of distinct elements: Binomial(90000, 1/90), mean 1000, sd 31.4.
  for (int64_t a = 0; a < kSize; ++a) {
    for (int64_t b = 0; b < kSize; ++b) {
      const int count = pairs[static_cast<size_t>(a * kSize + b)];
      if (a == b) {
        EXPECT_EQ(count, 0);
      } else {
        EXPECT_NEAR(count, 1000, 5.5 * 31.4) << a << ", " << b;
      }
    }
  }
}

// The same for a network, in eight by eight cells of equal size.
TEST(ShuffledOrderTest, FirstTwoPlacesOfALongOrderAreUniform) {
  constexpr int64_t kSize = 10000;
  constexpr int kKeys = 64000;
  std::vector<int> cells(64);
  for (int key = 0; key < kKeys; ++key) {
    const ShuffledOrder order(Key(key), kSize);
    ++cells[static_cast<size_t>(order[0] / 1250 * 8 + order[1] / 1250)];
  }
  // Binomial(64000, 1/64): mean 1000, standard deviation 31.4.
  for (const int count : cells) {
    EXPECT_NEAR(count, 1000, 5.5 * 31.4);
  }
}

}  // namespace
}  // namespace fedlb
