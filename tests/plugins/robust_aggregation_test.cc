#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "aggregation/bulyan.h"
#include "aggregation/centered_clipping.h"
#include "aggregation/fltrust.h"
#include "aggregation/geometric_median.h"
#include "aggregation/krum.h"
#include "aggregation/mean.h"
#include "aggregation/median.h"
#include "aggregation/norm_clipping.h"
#include "aggregation/trimmed_mean.h"
#include "fedlb/random.h"
#include "fedlb/round_task.h"
#include "fedlb/status.h"
#include "fedlb/tensor_list.h"
#include "plugins/make_component.h"

namespace fedlb {
namespace {

using aggregation::Bulyan;
using aggregation::CenteredClipping;
using aggregation::CoordinateMedian;
using aggregation::FlTrust;
using aggregation::GeometricMedian;
using aggregation::Krum;
using aggregation::Mean;
using aggregation::NormClipping;
using aggregation::TrimmedMeanRule;
using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pointwise;

using Rows = std::vector<std::vector<double>>;

absl::StatusOr<std::vector<double>> TryAggregate(Aggregator& rule,
                                                 const Rows& rows,
                                                 at::ScalarType dtype) {
  const auto width = static_cast<int64_t>(rows[0].size());
  EXPECT_TRUE(rule.Begin({{"w", {width}, dtype}}).ok());
  for (const std::vector<double>& row : rows) {
    Update update;
    update.client = rule.num_added();
    update.num_examples = 1;
    update.groups[kParametersGroup] = {ToTensor(row).to(dtype)};
    EXPECT_TRUE(rule.Add(update).ok());
  }
  auto result = rule.Finish();
  if (!result.ok()) {
    return result.status();
  }
  return ToVector((*result)[0].to(at::kDouble));
}

template <typename Rule>
std::vector<double> AggregateOf(const std::string& options, const Rows& rows,
                                at::ScalarType dtype = at::kDouble) {
  return TryAggregate(*Make<Rule>(options), rows, dtype).value();
}

Rows RandomRows(int64_t count, int64_t width, uint64_t seed) {
  RandomStream random({.seed = seed, .purpose = "test_updates"});
  Rows rows(static_cast<size_t>(count));
  for (std::vector<double>& row : rows) {
    for (int64_t i = 0; i < width; ++i) {
      row.push_back(random.Normal());
    }
  }
  return rows;
}

TEST(MedianTest, OfAnOddNumberTheMiddleOfAnEvenTheMeanOfTwo) {
  EXPECT_THAT(AggregateOf<CoordinateMedian>("", {{3, 7}, {1, 9}, {2, -5}}),
              ElementsAre(2, 7));
  EXPECT_THAT(AggregateOf<CoordinateMedian>("", {{3}, {1}, {2}, {100}}),
              ElementsAre(2.5));
  EXPECT_THAT(AggregateOf<CoordinateMedian>("", {{3}, {1}}), ElementsAre(2));
  EXPECT_THAT(AggregateOf<CoordinateMedian>("", {{3}}), ElementsAre(3));
}

// Widths around the blocks that columns are sorted in, against std::sort.
TEST(TrimmedMeanTest, IsTheMeanOfWhatSortingLeaves) {
  for (const int64_t count : {1, 2, 3, 5, 8, 13, 31, 32, 33, 100}) {
    for (const int64_t width : {1, 255, 257, 600}) {
      const Rows rows = RandomRows(count, width, 7);
      const auto trimmed = count / 5;
      const std::vector<double> result =
          AggregateOf<TrimmedMeanRule>("trim = 0.2", rows);
      for (size_t i = 0; i < static_cast<size_t>(width); ++i) {
        std::vector<double> column;
        for (const std::vector<double>& row : rows) {
          column.push_back(row[i]);
        }
        std::sort(column.begin(), column.end());
        double sum = 0;
        for (int64_t k = trimmed; k < count - trimmed; ++k) {
          sum += column[static_cast<size_t>(k)];
        }
        ASSERT_NEAR(result[i], sum / static_cast<double>(count - 2 * trimmed),
                    1e-12)
            << count << " rows, column " << i << " of " << width;
      }
    }
  }
}

TEST(TrimmedMeanTest, NothingIsTrimmedOfFewUpdates) {
  EXPECT_THAT(AggregateOf<TrimmedMeanRule>("trim = 0.1", {{1}, {2}, {9}}),
              ElementsAre(4));
  EXPECT_THAT(AggregateOf<TrimmedMeanRule>("trim = 0.3333333333333333",
                                           {{1}, {2}, {9}}),
              ElementsAre(2));
}

// On a line, n = 5 and f = 1: scores are sums of two squared distances, for 0,
// 1, 2, 3 and 100 these are 5, 2, 2, 5 and 97^2 + 98^2, and 100 is nearer to 2.
TEST(KrumTest, TakesTheOneNearestToItsNeighbours) {
  const Rows rows = {{0}, {1}, {2}, {3}, {100}};
  EXPECT_THAT(AggregateOf<Krum>("", rows), ElementsAre(2));
  EXPECT_THAT(AggregateOf<Krum>("select = 0", rows), ElementsAre(1.5));
  EXPECT_THAT(AggregateOf<Krum>("select = 3", rows), ElementsAre(2));
  EXPECT_THAT(AggregateOf<Krum>("select = 99", rows), ElementsAre(21.2));
}

// |x|^2 + |y|^2 - 2 x y in float would lose these differences: the updates
// differ by 1/1024 steps at a value of 1000.
TEST(KrumTest, KeepsTheOrderOfUpdatesThatAreCloseToEachOther) {
  Rows rows;
  for (const double step : {0.0, 1.0, 1.75, 3.0, 9.0}) {
    rows.emplace_back(4096, 1000 + step / 1024);
  }
  EXPECT_THAT(AggregateOf<Krum>("", rows, at::kFloat)[0],
              DoubleNear(1000 + 1.0 / 1024, 1e-9));
}

Rows GoldenRows() {
  Rows rows;
  for (int64_t k = 0; k < 11; ++k) {
    rows.emplace_back();
    for (int64_t i = 0; i < 3; ++i) {
      rows.back().push_back(static_cast<double>(
          (37 * k * k + 101 * i + 13 * k * i) % 97 + (k >= 9 ? 10000 : 0)));
    }
  }
  return rows;
}

// golden/krum.py
TEST(KrumTest, EqualsThePapersDefinition) {
  EXPECT_THAT(AggregateOf<Krum>("byzantine = 2", GoldenRows()),
              ElementsAre(40, 51, 62));
  EXPECT_THAT(AggregateOf<Krum>("byzantine = 2\nselect = 0", GoldenRows()),
              Pointwise(DoubleNear(1e-12), {318.0 / 7, 458.0 / 7, 307.0 / 7}));
}

// golden/krum.py. Taking the best 7 of one ranking would give another result.
TEST(BulyanTest, ChoosesOneByOne) {
  EXPECT_THAT(AggregateOf<Bulyan>("byzantine = 2", GoldenRows()),
              Pointwise(DoubleNear(1e-12), {119.0 / 3, 187.0 / 3, 97.0 / 3}));
}

TEST(BulyanTest, WithoutByzantineClientsIsTheMean) {
  EXPECT_THAT(AggregateOf<Bulyan>("byzantine = 0", {{1}, {2}, {9}}),
              ElementsAre(4));
}

template <typename Rule>
std::string Refusal(const std::string& options, const Rows& rows) {
  const auto rule = Make<Rule>(options);
  const absl::Status status = TryAggregate(*rule, rows, at::kDouble).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  return std::string(status.message());
}

TEST(PreconditionTest, SaysHowManyUpdatesAreMissing) {
  EXPECT_THAT(Refusal<Krum>("byzantine = 2", Rows(6, {1.0})),
              HasSubstr("6 updates to aggregate; the rule needs 7"));
  EXPECT_THAT(Refusal<Bulyan>("byzantine = 1", Rows(6, {1.0})),
              HasSubstr("6 updates to aggregate; the rule needs 7"));
}

// Of four corners of a convex quadrilateral it is where the diagonals cross.
TEST(GeometricMedianTest, IsWhereDiagonalsCross) {
  EXPECT_THAT(AggregateOf<GeometricMedian>("tolerance = 1e-15\n"
                                           "max_iterations = 10000",
                                           {{0, 0}, {2, 0}, {3, 3}, {0, 1}}),
              Pointwise(DoubleNear(1e-6), {2.0 / 3, 2.0 / 3}));
}

// Two thirds of the updates in one place hold it there.
TEST(GeometricMedianTest, IsAnUpdateThatMostAgreeOn) {
  EXPECT_THAT(AggregateOf<GeometricMedian>("", {{1, 2}, {1, 2}, {1e6, -1e6}}),
              Pointwise(DoubleNear(1e-3), {1.0, 2.0}));
}

TEST(NormClippingTest, ScalesLongUpdatesDown) {
  EXPECT_THAT(AggregateOf<NormClipping>("", {{3, 4}, {0.1, 0}}),
              Pointwise(DoubleNear(1e-15), {0.35, 0.4}));
  EXPECT_THAT(AggregateOf<NormClipping>("max_norm = 10", {{3, 4}, {1, 0}}),
              Pointwise(DoubleNear(1e-15), {2.0, 2.0}));
}

// From 0: (3, 4) is cut to (0.6, 0.8) and (0, 0.5) counts whole: (0.3, 0.65).
// From there (2.7, 3.35) is of length 4.30 and (-0.3, -0.15) of 0.34.
TEST(CenteredClippingTest, MovesByClippedDistances) {
  EXPECT_THAT(AggregateOf<CenteredClipping>("", {{3, 4}, {0, 0.5}}),
              Pointwise(DoubleNear(1e-12), {0.3, 0.65}));
  const double length = std::hypot(2.7, 3.35);
  const std::vector<double> second = {0.3 + (2.7 / length - 0.3) / 2,
                                      0.65 + (3.35 / length - 0.15) / 2};
  EXPECT_THAT(
      AggregateOf<CenteredClipping>("iterations = 2", {{3, 4}, {0, 0.5}}),
      Pointwise(DoubleNear(1e-12), second));
  // The next round begins where this one ended, here and after a restart.
  const auto rule = Make<CenteredClipping>("");
  ASSERT_TRUE(TryAggregate(*rule, {{3, 4}, {0, 0.5}}, at::kDouble).ok());
  const auto resumed = Make<CenteredClipping>("");
  ASSERT_TRUE(resumed->LoadState(rule->SaveState()).ok());
  for (CenteredClipping* next : {rule.get(), resumed.get()}) {
    EXPECT_THAT(*TryAggregate(*next, {{3, 4}, {0, 0.5}}, at::kDouble),
                Pointwise(DoubleNear(1e-12), second));
  }
}

// g_0 = (1, 0) trusts (3, 4) with 0.6, (0, 2) and (-5, 0) not at all, and (2,
// 0) with 1: (0.6 (0.6, 0.8) + (1, 0)) / 1.6.
TEST(FlTrustTest, CountsWhoPointsTheTrustedWay) {
  EXPECT_THAT(
      AggregateOf<FlTrust>("", {{1, 0}, {3, 4}, {0, 2}, {-5, 0}, {2, 0}}),
      Pointwise(DoubleNear(1e-12), {1.36 / 1.6, 0.48 / 1.6}));
  EXPECT_THAT(AggregateOf<FlTrust>("", {{1, 0}, {-1, 0}, {0, 0}}),
              ElementsAre(0, 0));
}

// Far longer than the trusted one, so that rounding would decide over the
// angle.
TEST(FlTrustTest, HugeUpdatesAreNotTrusted) {
  Rows rows = RandomRows(60, 700, 11);
  for (size_t k = 2; k < rows.size(); ++k) {
    for (double& x : rows[k]) {
      x *= 1e20;
    }
  }
  rows[1] = rows[0];
  const std::vector<double> result = AggregateOf<FlTrust>("", rows);
  for (size_t i = 0; i < result.size(); ++i) {
    ASSERT_NEAR(result[i], rows[0][i], 1e-12);
  }
}

TEST(FlTrustTest, NeedsTheTrustedClient) {
  const auto rule = Make<FlTrust>("trusted_client = 9");
  EXPECT_EQ(FailureOf(TryAggregate(*rule, {{1}, {2}}, at::kDouble).status()),
            Failure::kDeadline);
}

double DistanceTo(const std::vector<double>& point, double value) {
  double sum = 0;
  for (const double x : point) {
    sum += (x - value) * (x - value);
  }
  return std::sqrt(sum);
}

// Honest updates are 1 in each element, give or take. Attackers send the same
// a million times larger, or with its sign flipped.
class AttackTest : public ::testing::TestWithParam<double> {
 protected:
  // 11 updates of which the last `attackers` are hostile, and the error of the
  // worst honest one.
  Rows MakeRows(int64_t attackers) {
    Rows rows = RandomRows(11, 1000, 3);
    for (size_t k = 0; k < rows.size(); ++k) {
      const bool hostile = k + static_cast<size_t>(attackers) >= rows.size();
      for (double& x : rows[k]) {
        x = (1 + 0.1 * x) * (hostile ? GetParam() : 1);
      }
      if (!hostile) {
        honest_error_ = std::max(honest_error_, DistanceTo(rows[k], 1));
      }
    }
    return rows;
  }
  template <typename Rule>
  void ExpectHolds(const std::string& options, int64_t attackers) {
    const Rows rows = MakeRows(attackers);
    EXPECT_LT(DistanceTo(AggregateOf<Rule>(options, rows), 1),
              1.5 * honest_error_)
        << Rule::kName;
    EXPECT_GT(DistanceTo(AggregateOf<Mean>("", rows), 1), 2.5 * honest_error_);
  }

  double honest_error_ = 0;
};

TEST_P(AttackTest, RobustRulesHold) {
  ExpectHolds<CoordinateMedian>("", 3);
  ExpectHolds<TrimmedMeanRule>("trim = 0.3", 3);
  ExpectHolds<Krum>("byzantine = 3", 3);
  ExpectHolds<Krum>("byzantine = 3\nselect = 0", 3);
  ExpectHolds<GeometricMedian>("", 3);
  ExpectHolds<Bulyan>("byzantine = 2", 2);
  ExpectHolds<FlTrust>("", 3);
}

INSTANTIATE_TEST_SUITE_P(Factors, AttackTest,
                         ::testing::Values(1e6, -1e6, -2.0));

template <typename Rule>
void ExpectSameWithThreads(const std::string& options) {
  // More columns than one task has.
  Rows rows = RandomRows(9, 200'001, 5);
  at::set_num_threads(1);
  const std::vector<double> one = AggregateOf<Rule>(options, rows, at::kFloat);
  at::set_num_threads(3);
  const std::vector<double> three =
      AggregateOf<Rule>(options, rows, at::kFloat);
  at::set_num_threads(1);
  EXPECT_EQ(one, three) << Rule::kName;
}

TEST(DeterminismTest, ThreadsDoNotMatter) {
  ExpectSameWithThreads<CoordinateMedian>("");
  ExpectSameWithThreads<TrimmedMeanRule>("");
  ExpectSameWithThreads<Krum>("select = 0");
  ExpectSameWithThreads<Bulyan>("");
  ExpectSameWithThreads<GeometricMedian>("");
}

}  // namespace
}  // namespace fedlb
