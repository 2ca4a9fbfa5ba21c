// What a partition's counts say about its clients.

#include "fedlb/data_summary.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fedlb {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

TEST(SummariseCountsTest, EqualSharesAreNoDistanceApart) {
  const PartitionSummary summary = SummariseCounts({{5, 10}, {10, 20}});
  EXPECT_THAT(summary.counts, ElementsAre(15, 30));
  EXPECT_NEAR(summary.mean_emd, 0, 1e-15);
  EXPECT_NEAR(summary.mean_js_divergence, 0, 1e-15);
}

// p = (1, 0) and q = (1/2, 1/2): |1 - 1/2| + |0 - 1/2| = 1, and with the middle
// (3/4, 1/4) the divergence is
//   (1 * log2(4/3) + 1/2 * log2(2/3) + 1/2 * log2(2)) / 2.
TEST(SummariseCountsTest, OneClassEachOfTwo) {
  const PartitionSummary summary = SummariseCounts({{7, 0}, {0, 7}});
  const double divergence =
      (std::log2(4.0 / 3) + std::log2(2.0 / 3) / 2 + 0.5) / 2;
  for (const ClientSummary& client : summary.clients) {
    EXPECT_NEAR(client.emd, 1, 1e-15);
    EXPECT_NEAR(client.js_divergence, divergence, 1e-15);
  }
  EXPECT_NEAR(summary.mean_js_divergence, divergence, 1e-15);
}

// q = (3/4, 1/4). The first client is at |2/3 - 3/4| + |1/3 - 1/4| = 1/6 and
// holds 9 of 12 examples, the second at |1 - 3/4| + 1/4 = 1/2 and holds 3.
TEST(SummariseCountsTest, MeansCountExamples) {
  const PartitionSummary summary = SummariseCounts({{6, 3}, {3, 0}});
  EXPECT_NEAR(summary.clients[0].emd, 1.0 / 6, 1e-15);
  EXPECT_NEAR(summary.clients[1].emd, 0.5, 1e-15);
  EXPECT_NEAR(summary.mean_emd, 9.0 / 12 / 6 + 3.0 / 12 / 2, 1e-15);
}

TEST(SummariseDealtTest, CountsTheLabelsOfEachClientsExamples) {
  const PartitionSummary summary =
      SummariseDealt({{0, 4}, {1, 3}}, {2, 0, 1, 0, 2}, 3);
  ASSERT_THAT(summary.clients, SizeIs(2));
  EXPECT_THAT(summary.clients[0].counts, ElementsAre(0, 0, 2));
  EXPECT_THAT(summary.clients[1].counts, ElementsAre(2, 0, 0));
  EXPECT_THAT(summary.counts, ElementsAre(2, 0, 2));
}

TEST(SummariseCountsTest, NobodyIsFine) {
  EXPECT_TRUE(SummariseCounts({}).clients.empty());
}

}  // namespace
}  // namespace fedlb
