#include <cmath>
#include <utility>
#include <vector>

#include "fedlb/profile.h"
#include "gtest/gtest.h"

namespace fedlb {
namespace {

using Points = std::vector<std::pair<int64_t, double>>;

Points Sample(const std::vector<int64_t>& sizes, double (*value)(double)) {
  Points points;
  for (const int64_t size : sizes) {
    points.emplace_back(size, value(static_cast<double>(size)));
  }
  return points;
}

double Line(double b) { return 3 + 0.5 * b; }
double Bent(double b) { return 2 + 0.1 * b + 0.4 * std::max(0.0, b - 32); }
double Steps(double b) {
  return 10 + (b < 20 ? b : 20) + (b > 100 ? 3 * (b - 100) : 0);
}

TEST(BatchCurveTest, FindsALine) {
  const auto curve = BatchCurve::Fit(Sample({1, 4, 16, 64}, Line));
  ASSERT_TRUE(curve.ok());
  EXPECT_EQ(curve->shape(), BatchCurve::Shape::kLinear);
  EXPECT_NEAR(curve->coefficients()[0], 3, 1e-9);
  EXPECT_NEAR(curve->coefficients()[1], 0.5, 1e-9);
  EXPECT_NEAR(curve->Predict(40)->value, 23, 1e-9);
  EXPECT_NEAR(curve->Predict(128)->value, 67, 1e-9);
  for (const double residual : curve->Residuals()) {
    EXPECT_NEAR(residual, 0, 1e-9);
  }
}

// Relative least squares of (1, 1) and (2, 4) through a + s b with a, s >= 0:
// the free line is -2 + 3 b, so that a is 0 and s minimises (s - 1)^2 +
// (s / 2 - 1)^2, which is 6/5.
TEST(BatchCurveTest, ALineHasNoNegativeBase) {
  const auto curve = BatchCurve::Fit({{1, 1}, {2, 4}});
  ASSERT_TRUE(curve.ok());
  EXPECT_EQ(curve->coefficients()[0], 0);
  EXPECT_NEAR(curve->coefficients()[1], 1.2, 1e-12);
  EXPECT_NEAR(curve->Residuals()[1], -0.4, 1e-12);
}

TEST(BatchCurveTest, FindsAKnee) {
  const auto curve =
      BatchCurve::Fit(Sample({1, 2, 4, 8, 16, 32, 64, 128, 256}, Bent));
  ASSERT_TRUE(curve.ok());
  EXPECT_EQ(curve->shape(), BatchCurve::Shape::kKnee);
  EXPECT_NEAR(curve->coefficients()[2], 0.4, 1e-9);
  EXPECT_EQ(curve->coefficients()[3], 32);
  EXPECT_NEAR(curve->Predict(100)->value, Bent(100), 1e-9);
}

TEST(BatchCurveTest, SegmentsGoThroughWhatNoKneeFits) {
  const auto curve = BatchCurve::Fit(
      Sample({1, 2, 4, 8, 16, 32, 64, 90, 128, 256, 512}, Steps));
  ASSERT_TRUE(curve.ok());
  EXPECT_EQ(curve->shape(), BatchCurve::Shape::kSegments);
  EXPECT_NEAR(curve->Predict(48)->value, Steps(48), 1e-9);
  EXPECT_NEAR(curve->Predict(400)->value, Steps(400), 1e-9);
}

// Both bends lie between points: where the lines on either side meet.
TEST(BatchCurveTest, ExactSegmentsBendWhereTheirNeighboursMeet) {
  const auto curve =
      BatchCurve::FitSegments(Sample({4, 8, 32, 64, 128, 512}, Steps));
  ASSERT_TRUE(curve.ok());
  for (const int64_t b : {5, 12, 20, 25, 48, 90, 100, 120, 300, 512, 1000}) {
    EXPECT_NEAR(curve->Predict(b)->value, Steps(static_cast<double>(b)), 1e-9)
        << b;
  }
}

TEST(BatchCurveTest, IntervalsHoldTheirValueAndGrowOutside) {
  const auto curve = BatchCurve::FitSegments(Sample({8, 16, 64, 128}, Line));
  ASSERT_TRUE(curve.ok());
  double width = 0;
  for (const int64_t b : {128, 200, 300, 500}) {
    const Estimate e = *curve->Predict(b);
    EXPECT_LT(e.low, e.value);
    EXPECT_GT(e.high, e.value);
    EXPECT_GT((e.high - e.low) / e.value, width);
    width = (e.high - e.low) / e.value;
  }
}

TEST(BatchCurveTest, RefusesWhatItCannotKnow) {
  const auto curve = BatchCurve::Fit({{8, 1.0}, {16, 2.0}});
  ASSERT_TRUE(curve.ok());
  EXPECT_TRUE(curve->Predict(64).ok());
  EXPECT_FALSE(curve->Predict(65).ok());
  EXPECT_FALSE(curve->Predict(0).ok());
  const auto single = BatchCurve::Fit({{8, 1.0}});
  ASSERT_TRUE(single.ok());
  EXPECT_NEAR(single->Predict(8)->value, 1, 1e-12);
  EXPECT_NE(single->Predict(9).status().message().find("only 8 was measured"),
            std::string::npos);
  EXPECT_FALSE(BatchCurve::Fit({}).ok());
  EXPECT_FALSE(BatchCurve::Fit({{4, 1.0}, {4, 2.0}}).ok());
  EXPECT_FALSE(BatchCurve::Fit({{4, 1.0}, {8, 0.0}}).ok());
  EXPECT_FALSE(BatchCurve::Fit({{4, 1.0}, {8, std::nan("")}}).ok());
}

// 3 + b / 2 <= 50 up to b = 94; half a percent of margin leaves 93, since
// 1.005 (3 + 93 / 2) = 49.75 and 1.005 * 50 = 50.25.
TEST(BatchCurveTest, TheLargestWithinABoundLeavesTheMargin) {
  const auto curve = BatchCurve::FitSegments(Sample({1, 64, 128}, Line));
  ASSERT_TRUE(curve.ok());
  EXPECT_EQ(curve->LargestWithin(50, 1000), 93);
  EXPECT_EQ(curve->LargestWithin(50, 80), 80);
  EXPECT_EQ(curve->LargestWithin(1, 80), 0);
  EXPECT_EQ(curve->LargestWithin(1e9, 100000), 512);  // four times 128
}

}  // namespace
}  // namespace fedlb
