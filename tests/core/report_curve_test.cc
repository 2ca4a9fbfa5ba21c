#include "report/curve.h"

#include <algorithm>
#include <random>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fedlb {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;
using ::testing::SizeIs;

CurvePoint At(int64_t round, double value) {
  CurvePoint point;
  point.round = round;
  point.value = value;
  return point;
}

TEST(CurveTest, KeepsEveryPointOfAShortRun) {
  for (const int64_t count : {1, 2, 3, 1999, 2000}) {
    Curve curve;
    for (int64_t i = 1; i <= count; ++i) {
      curve.Add(At(i, static_cast<double>(i % 7)));
    }
    const std::vector<CurvePoint> points = curve.Points();
    ASSERT_THAT(points, SizeIs(count));
    for (int64_t i = 1; i <= count; ++i) {
      EXPECT_EQ(points[i - 1].round, i);
      EXPECT_EQ(points[i - 1].value, static_cast<double>(i % 7));
    }
  }
}

TEST(CurveTest, KeepsEndsAndExtremesOfALongOneInOrder) {
  std::mt19937_64 random(20260301);
  for (const int64_t count : {2001, 2002, 4001, 10'000, 100'003, 1'000'000}) {
    Curve curve;
    const int64_t spike =
        std::uniform_int_distribution<int64_t>(2, count - 1)(random);
    const int64_t dip = spike == 2 ? 3 : spike - 1;
    std::uniform_real_distribution<double> noise(0, 1);
    double last = 0;
    for (int64_t i = 1; i <= count; ++i) {
      last = i == spike ? 5 : i == dip ? -5 : noise(random);
      curve.Add(At(i, last));
    }
    const std::vector<CurvePoint> points = curve.Points();
    EXPECT_LE(points.size(), Curve::kMaxPoints) << count;
    EXPECT_GE(points.size(), Curve::kMaxPoints / 4) << count;
    EXPECT_TRUE(std::is_sorted(points.begin(), points.end(),
                               [](const CurvePoint& a, const CurvePoint& b) {
                                 return a.round < b.round;
                               }));
    EXPECT_EQ(std::adjacent_find(points.begin(), points.end(),
                                 [](const CurvePoint& a, const CurvePoint& b) {
                                   return a.round == b.round;
                                 }),
              points.end());
    EXPECT_EQ(points.front().round, 1);
    EXPECT_EQ(points.back().round, count);
    EXPECT_EQ(points.back().value, last);
    const auto [low, high] =
        std::minmax_element(points.begin(), points.end(),
                            [](const CurvePoint& a, const CurvePoint& b) {
                              return a.value < b.value;
                            });
    EXPECT_EQ(high->round, spike);
    EXPECT_EQ(low->round, dip);
    EXPECT_EQ(curve.highest().round, spike);
    EXPECT_FALSE(curve.flat());
  }
}

TEST(CurveTest, IsFlatUntilAValueDiffers) {
  Curve curve;
  EXPECT_TRUE(curve.flat());
  for (int64_t i = 0; i < 5000; ++i) {
    curve.Add(At(i, 0.5));
  }
  EXPECT_TRUE(curve.flat());
  curve.Add(At(5000, 0.25));
  EXPECT_FALSE(curve.flat());
}

TEST(RoundSpansTest, JoinsNeighbours) {
  RoundSpans spans;
  for (const int64_t round : {1, 2, 3, 7, 9, 10}) {
    spans.Add(round);
  }
  EXPECT_THAT(spans.spans(), ElementsAre(Pair(1, 3), Pair(7, 7), Pair(9, 10)));
}

TEST(RoundSpansTest, ClosesTheNarrowestGapsOfALongRun) {
  RoundSpans spans;
  // Every second round, and a stretch of 5,000 without any.
  for (int64_t round = 0; round < 20'000; round += 2) {
    if (round < 10'000 || round >= 15'000) {
      spans.Add(round);
    }
  }
  EXPECT_THAT(spans.spans(), ElementsAre(Pair(0, 9998), Pair(15'000, 19'998)));
}

}  // namespace
}  // namespace fedlb
