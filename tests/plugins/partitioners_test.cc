// The partitioners of the plugin `partition`.

#include <algorithm>
#include <cmath>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "fedlb/logger.h"
#include "fedlb/random.h"
#include "fedlb/status.h"
#include "partition/dirichlet.h"
#include "partition/iid.h"
#include "partition/labels_per_client.h"

namespace fedlb::partition {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class RecordingLogger final : public Logger {
 public:
  void Log(LogLevel, absl::string_view message) override {
    messages.emplace_back(message);
  }

  std::vector<std::string> messages;
};

template <typename P>
std::unique_ptr<P> Make(const typename P::Options& options, uint64_t seed = 1,
                        Logger& logger = Logger::Null()) {
  ComponentContext context;
  context.seed = seed;
  context.logger = &logger;
  auto partitioner = P::Create(options, context);
  EXPECT_TRUE(partitioner.ok()) << partitioner.status();
  return std::move(*partitioner);
}

struct Examples {
  std::vector<int64_t> indices;
  std::vector<int64_t> labels;  // of all examples, also of unused ones
};

// `per_class` examples of each class, scattered over twice as many indices.
Examples MakeExamples(int64_t num_classes, int64_t per_class, uint64_t seed) {
  Examples examples;
  RandomStream stream({.seed = seed, .purpose = "test_examples"});
  std::vector<int64_t> order;
  for (int64_t i = 0; i < 2 * num_classes * per_class; ++i) {
    order.push_back(i);
    examples.labels.push_back(0);
  }
  stream.Shuffle(absl::MakeSpan(order));
  for (int64_t i = 0; i < num_classes * per_class; ++i) {
    const int64_t index = order[static_cast<size_t>(i)];
    examples.indices.push_back(index);
    examples.labels[static_cast<size_t>(index)] = i % num_classes;
  }
  return examples;
}

// All examples of a partition, in ascending order.
std::vector<int64_t> Dealt(const Partition& partition) {
  std::vector<int64_t> dealt;
  for (const auto& share : partition) {
    dealt.insert(dealt.end(), share.begin(), share.end());
  }
  std::sort(dealt.begin(), dealt.end());
  return dealt;
}

std::vector<int64_t> Sorted(std::vector<int64_t> values) {
  std::sort(values.begin(), values.end());
  return values;
}

// counts[client][class].
std::vector<std::vector<int64_t>> ClassCounts(const Partition& partition,
                                              const Examples& examples,
                                              int64_t num_classes) {
  std::vector<std::vector<int64_t>> counts;
  for (const auto& share : partition) {
    counts.emplace_back(static_cast<size_t>(num_classes), 0);
    for (const int64_t index : share) {
      ++counts.back()[static_cast<size_t>(
          examples.labels[static_cast<size_t>(index)])];
    }
  }
  return counts;
}

std::string RefusalOf(const absl::StatusOr<Partition>& partition) {
  EXPECT_FALSE(partition.ok());
  EXPECT_EQ(FailureOf(partition.status()), Failure::kConfig);
  return std::string(partition.status().message());
}

TEST(IidTest, UsesEveryExampleInSharesThatDifferByOne) {
  RandomStream stream({.seed = 1, .purpose = "test_configs"});
  for (int i = 0; i < 200; ++i) {
    const auto clients = static_cast<int64_t>(1 + stream.Below(40));
    const auto per_class = static_cast<int64_t>(40 + stream.Below(20));
    const Examples examples = MakeExamples(3, per_class, stream());
    const auto partition =
        Make<Iid>({}, stream())
            ->Deal(examples.indices, examples.labels, 3, clients);
    ASSERT_TRUE(partition.ok()) << partition.status();
    EXPECT_EQ(Dealt(*partition), Sorted(examples.indices));
    for (const auto& share : *partition) {
      const auto size = static_cast<int64_t>(share.size());
      EXPECT_GE(size, 3 * per_class / clients);
      EXPECT_LE(size, (3 * per_class + clients - 1) / clients);
    }
  }
}

TEST(IidTest, ClassesAreMixed) {
  // A share of 600 out of 10 classes holds 60 of each on average, with a
  // standard deviation below sqrt(600 * 0.1 * 0.9) = 7.3.
  const Examples examples = MakeExamples(10, 600, 1);
  const auto partition =
      Make<Iid>({})->Deal(examples.indices, examples.labels, 10, 10);
  for (const auto& counts : ClassCounts(*partition, examples, 10)) {
    for (const int64_t count : counts) {
      EXPECT_NEAR(count, 60, 5 * 7.3);
    }
  }
}

template <typename P>
class SeedTest : public testing::Test {};
using Partitioners = testing::Types<Iid, LabelsPerClient, Dirichlet>;
TYPED_TEST_SUITE(SeedTest, Partitioners);

TYPED_TEST(SeedTest, TheSeedAloneDecides) {
  const Examples examples = MakeExamples(10, 50, 1);
  const auto deal = [&](uint64_t seed) {
    return *Make<TypeParam>({}, seed)->Deal(examples.indices, examples.labels,
                                            10, 5);
  };
  EXPECT_EQ(deal(7), deal(7));
  EXPECT_NE(deal(7), deal(8));
}

TYPED_TEST(SeedTest, AnInstanceRepeatsItself) {
  const Examples examples = MakeExamples(10, 50, 1);
  const auto partitioner = Make<TypeParam>({});
  const auto first =
      *partitioner->Deal(examples.indices, examples.labels, 10, 5);
  EXPECT_EQ(*partitioner->Deal(examples.indices, examples.labels, 10, 5),
            first);
}

TYPED_TEST(SeedTest, MoreClientsThanExamplesIsAConfigError) {
  const Examples examples = MakeExamples(2, 2, 1);
  EXPECT_THAT(RefusalOf(Make<TypeParam>({})->Deal(examples.indices,
                                                  examples.labels, 2, 5)),
              HasSubstr("federation.clients"));
}

TEST(LabelsPerClientTest, InvariantsHoldForRandomConfigurations) {
  RandomStream stream({.seed = 2, .purpose = "test_configs"});
  for (int i = 0; i < 400; ++i) {
    const auto classes = static_cast<int64_t>(1 + stream.Below(20));
    const auto clients = static_cast<int64_t>(1 + stream.Below(30));
    const auto k =
        static_cast<int64_t>(1 + stream.Below(static_cast<uint64_t>(classes)));
    const int64_t per_class = clients + static_cast<int64_t>(stream.Below(20));
    const bool random = stream.Below(2) == 0;
    const Examples examples = MakeExamples(classes, per_class, stream());
    RecordingLogger logger;
    const auto partition =
        Make<LabelsPerClient>({.labels_per_client = k,
                               .assignment = random ? LabelAssignment::kRandom
                                                    : LabelAssignment::kCyclic},
                              stream(), logger)
            ->Deal(examples.indices, examples.labels, classes, clients);
    ASSERT_TRUE(partition.ok()) << partition.status();

    const auto counts = ClassCounts(*partition, examples, classes);
    std::vector<std::vector<int64_t>> parts(static_cast<size_t>(classes));
    for (const auto& of_client : counts) {
      int64_t distinct = 0;
      for (size_t c = 0; c < of_client.size(); ++c) {
        if (of_client[c] > 0) {
          ++distinct;
          parts[c].push_back(of_client[c]);
        }
      }
      EXPECT_EQ(distinct, k);
    }
    int64_t left_out = 0;
    for (const auto& part : parts) {
      const auto owners = static_cast<int64_t>(part.size());
      EXPECT_GE(owners, clients * k / classes);
      EXPECT_LE(owners, (clients * k + classes - 1) / classes);
      if (part.empty()) {
        ++left_out;
        continue;
      }
      const auto [least, most] = std::minmax_element(part.begin(), part.end());
      EXPECT_LE(*most - *least, 1);
    }
    EXPECT_EQ(left_out, std::max<int64_t>(0, classes - clients * k));
    EXPECT_EQ(logger.messages.size(), left_out > 0 ? 1 : 0);
    if (left_out == 0) {
      EXPECT_EQ(Dealt(*partition), Sorted(examples.indices));
    }
  }
}

TEST(LabelsPerClientTest, RandomAssignmentsMixTheClasses) {
  // 200 clients with 2 of 10 classes each: 45 pairs are possible, and a rule
  // that favoured few of them would show.
  const Examples examples = MakeExamples(10, 100, 1);
  const auto partition = Make<LabelsPerClient>({})->Deal(
      examples.indices, examples.labels, 10, 200);
  ASSERT_TRUE(partition.ok()) << partition.status();
  std::set<std::vector<bool>> pairs;
  for (const auto& of_client : ClassCounts(*partition, examples, 10)) {
    std::vector<bool> has;
    for (const int64_t count : of_client) {
      has.push_back(count > 0);
    }
    pairs.insert(has);
  }
  EXPECT_GT(pairs.size(), 30);
}

TEST(LabelsPerClientTest, CyclicGivesThePapersBlocksOfClasses) {
  const Examples examples = MakeExamples(101, 5, 1);
  RecordingLogger logger;
  const auto partition =
      Make<LabelsPerClient>(
          {.labels_per_client = 10, .assignment = LabelAssignment::kCyclic}, 1,
          logger)
          ->Deal(examples.indices, examples.labels, 101, 10);
  ASSERT_TRUE(partition.ok()) << partition.status();
  const auto counts = ClassCounts(*partition, examples, 101);
  for (size_t client = 0; client < 10; ++client) {
    for (size_t c = 0; c < 101; ++c) {
      EXPECT_EQ(counts[client][c], c / 10 == client ? 5 : 0);
    }
  }
  EXPECT_THAT(
      logger.messages,
      ElementsAre(AllOf(HasSubstr("leave out 1 of 101"), HasSubstr("(100)"))));
}

TEST(LabelsPerClientTest, ClassesWithoutExamplesDoNotCount) {
  // Labels 0 and 1 of 10.
  const Examples examples = MakeExamples(2, 10, 1);
  const auto partition = Make<LabelsPerClient>({.labels_per_client = 2})
                             ->Deal(examples.indices, examples.labels, 10, 4);
  ASSERT_TRUE(partition.ok()) << partition.status();
  EXPECT_EQ(Dealt(*partition), Sorted(examples.indices));
  EXPECT_THAT(
      RefusalOf(Make<LabelsPerClient>({.labels_per_client = 3})
                    ->Deal(examples.indices, examples.labels, 10, 4)),
      AllOf(HasSubstr("labels_per_client = 3"), HasSubstr("2 classes")));
}

TEST(LabelsPerClientTest, AClassWithFewerExamplesThanClientsIsAConfigError) {
  // Each of 6 clients wants both classes, which have 4 examples each.
  const Examples examples = MakeExamples(2, 4, 1);
  EXPECT_THAT(RefusalOf(Make<LabelsPerClient>({.labels_per_client = 2})
                            ->Deal(examples.indices, examples.labels, 2, 6)),
              AllOf(HasSubstr("class 0 has 4 training examples for 6 clients"),
                    HasSubstr("lower partitioner.labels_per_client")));
}

TEST(DirichletTest, InvariantsHoldForRandomConfigurations) {
  RandomStream stream({.seed = 3, .purpose = "test_configs"});
  int num_dealt = 0;
  for (int i = 0; i < 300; ++i) {
    const auto classes = static_cast<int64_t>(1 + stream.Below(12));
    const auto clients = static_cast<int64_t>(1 + stream.Below(12));
    const auto per_class = static_cast<int64_t>(40 + stream.Below(100));
    DirichletOptions options;
    options.alpha = std::exp(8 * stream.Uniform() - 4);
    options.min_examples = static_cast<int64_t>(
        1 + stream.Below(static_cast<uint64_t>(classes * per_class / clients)));
    options.balance = stream.Below(2) == 0;
    const Examples examples = MakeExamples(classes, per_class, stream());
    const auto partition =
        Make<Dirichlet>(options, stream())
            ->Deal(examples.indices, examples.labels, classes, clients);
    if (!partition.ok()) {
      EXPECT_THAT(RefusalOf(partition), HasSubstr("min_examples"));
      continue;
    }
    ++num_dealt;
    EXPECT_EQ(Dealt(*partition), Sorted(examples.indices));
    for (const auto& share : *partition) {
      const auto size = static_cast<int64_t>(share.size());
      EXPECT_GE(size, options.min_examples);
      if (options.balance) {
        // Nobody takes part in a class once it has the average.
        EXPECT_LE(size * clients, classes * per_class + clients * per_class);
      }
    }
  }
  EXPECT_GT(num_dealt, 100);
}

TEST(DirichletTest, SharesHaveTheMomentsOfTheDistribution) {
  // The shares s of a class are Dir_5(0.5): E s_k = 1/5,
  // var s_k = (1/5)(4/5) / (5 * 0.5 + 1) = 0.0457, and
  // E sum_k s_k^2 = (0.5 + 1) / (5 * 0.5 + 1) = 0.4286. There are 4,000 classes
  // in 10 partitions. Five standard errors are 5 * 0.214 / sqrt(4000) = 0.017
  // for the mean and, since a sum in [0.2, 1] deviates by 0.4 at most, 0.032
  // for the sum of squares; cutting at whole examples adds up to 0.01 to each.
  constexpr int64_t kClients = 5;
  constexpr int64_t kClasses = 400;
  constexpr int64_t kPerClass = 200;
  const Examples examples = MakeExamples(kClasses, kPerClass, 1);
  std::vector<double> mean(kClients, 0);
  double squares = 0;
  for (uint64_t seed = 0; seed < 10; ++seed) {
    const auto partition =
        Make<Dirichlet>({.alpha = 0.5}, seed)
            ->Deal(examples.indices, examples.labels, kClasses, kClients);
    ASSERT_TRUE(partition.ok()) << partition.status();
    const auto counts = ClassCounts(*partition, examples, kClasses);
    for (size_t k = 0; k < counts.size(); ++k) {
      for (const int64_t count : counts[k]) {
        const double share = static_cast<double>(count) / kPerClass;
        mean[k] += share / (10 * kClasses);
        squares += share * share / (10 * kClasses);
      }
    }
  }
  for (const double value : mean) {
    EXPECT_NEAR(value, 0.2, 0.027);
  }
  EXPECT_NEAR(squares, 0.4286, 0.042);
}

TEST(DirichletTest, AHugeAlphaSplitsEveryClassEvenly) {
  // The standard deviation of a share is sqrt(0.1 * 0.9 / 10^7) = 10^-4.
  const Examples examples = MakeExamples(4, 1000, 1);
  const auto partition = Make<Dirichlet>({.alpha = 1e6})
                             ->Deal(examples.indices, examples.labels, 4, 10);
  ASSERT_TRUE(partition.ok()) << partition.status();
  for (const auto& of_client : ClassCounts(*partition, examples, 4)) {
    for (const int64_t count : of_client) {
      EXPECT_NEAR(count, 100, 2);
    }
  }
}

TEST(DirichletTest, ATinyAlphaGivesEachClassToOneClient) {
  const Examples examples = MakeExamples(12, 30, 1);
  for (const double alpha : {1e-3, 1e-9, 1e-300}) {
    for (const bool balance : {false, true}) {
      const auto partition =
          Make<Dirichlet>({.alpha = alpha, .balance = balance})
              ->Deal(examples.indices, examples.labels, 12, 3);
      ASSERT_TRUE(partition.ok()) << partition.status();
      EXPECT_EQ(Dealt(*partition), Sorted(examples.indices));
      int64_t num_parts = 0;
      for (const auto& of_client : ClassCounts(*partition, examples, 12)) {
        num_parts += 12 - std::count(of_client.begin(), of_client.end(), 0);
      }
      // At 10^-3 a second part is possible once in hundreds of draws.
      EXPECT_LE(num_parts, alpha > 1e-6 ? 14 : 12);
      if (balance) {
        // 12 classes, 3 clients, and a client with 4 of them is full.
        for (const auto& share : *partition) {
          EXPECT_NEAR(static_cast<double>(share.size()), 120,
                      alpha > 1e-6 ? 30 : 0);
        }
      }
    }
  }
}

TEST(DirichletTest, ImpossibleMinimaAreRefusedWithAdvice) {
  const Examples examples = MakeExamples(2, 50, 1);
  EXPECT_THAT(RefusalOf(Make<Dirichlet>({})->Deal(examples.indices,
                                                  examples.labels, 2, 20)),
              AllOf(HasSubstr("min_examples = 10"),
                    HasSubstr("lower it to 5 or less")));
  // Two classes that are not split cannot feed three clients.
  EXPECT_THAT(
      RefusalOf(Make<Dirichlet>({.alpha = 1e-9, .min_examples = 1})
                    ->Deal(examples.indices, examples.labels, 2, 3)),
      AllOf(HasSubstr("in 100 draws"), HasSubstr("at best 0"),
            HasSubstr("raise partitioner.alpha"), HasSubstr("balance = true")));
}

TEST(PartitionersTest, TenThousandClientsOfSixExamples) {
  const Examples examples = MakeExamples(10, 6000, 1);
  const auto iid =
      Make<Iid>({})->Deal(examples.indices, examples.labels, 10, 10'000);
  ASSERT_TRUE(iid.ok()) << iid.status();
  for (const auto& share : *iid) {
    EXPECT_EQ(share.size(), 6);
  }
  const auto two_labels = Make<LabelsPerClient>({})->Deal(
      examples.indices, examples.labels, 10, 10'000);
  ASSERT_TRUE(two_labels.ok()) << two_labels.status();
  for (const auto& share : *two_labels) {
    // 2,000 clients share 6,000 examples of a class.
    EXPECT_EQ(share.size(), 6);
  }
  const auto dirichlet =
      Make<Dirichlet>({.alpha = 10, .min_examples = 1})
          ->Deal(examples.indices, examples.labels, 10, 10'000);
  EXPECT_THAT(dirichlet.ok() ? "" : RefusalOf(dirichlet),
              testing::AnyOf("", HasSubstr("draws")));
}

}  // namespace
}  // namespace fedlb::partition
