// The partitioners of the plugin `partition`.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <unistd.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "fedlb/logger.h"
#include "fedlb/random.h"
#include "fedlb/status.h"
#include "partition/by_list.h"
#include "partition/dirichlet.h"
#include "partition/iid.h"
#include "partition/labels_per_client.h"
#include "partition/quantity.h"
#include "partition/shards.h"

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
using Partitioners =
    testing::Types<Iid, LabelsPerClient, Dirichlet, Shards, Quantity>;
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

TEST(ShardsTest, InvariantsHoldForRandomConfigurations) {
  RandomStream stream({.seed = 4, .purpose = "test_configs"});
  for (int i = 0; i < 300; ++i) {
    const auto classes = static_cast<int64_t>(1 + stream.Below(15));
    const auto clients = static_cast<int64_t>(1 + stream.Below(30));
    const auto per_client = static_cast<int64_t>(1 + stream.Below(6));
    const int64_t num_shards = clients * per_client;
    const int64_t per_class = (num_shards + classes - 1) / classes +
                              static_cast<int64_t>(stream.Below(40));
    const Examples examples = MakeExamples(classes, per_class, stream());
    const uint64_t seed = stream();
    const auto deal = [&] {
      return Make<Shards>({.shards_per_client = per_client}, seed)
          ->Deal(examples.indices, examples.labels, classes, clients);
    };
    const auto partition = deal();
    ASSERT_TRUE(partition.ok()) << partition.status();
    EXPECT_EQ(*deal(), *partition);
    EXPECT_EQ(Dealt(*partition), Sorted(examples.indices));
    const int64_t num_examples = classes * per_class;
    const int64_t shard = (num_examples + num_shards - 1) / num_shards;
    // A piece of the sorted examples meets at most so many labels.
    const int64_t labels_of_shard =
        std::min(classes, 1 + (shard - 1 + per_class - 1) / per_class);
    for (const auto& share : *partition) {
      const auto size = static_cast<int64_t>(share.size());
      EXPECT_GE(size, per_client * (num_examples / num_shards));
      EXPECT_LE(size, per_client * shard);
    }
    for (const auto& of_client : ClassCounts(*partition, examples, classes)) {
      EXPECT_LE(classes - std::count(of_client.begin(), of_client.end(), 0),
                per_client * labels_of_shard);
    }
  }
}

// 60,000 examples, 100 clients, 200 shards of 300, as in the paper: a class is
// cut into 20 shards, so nobody has more than two, and the parts of a class are
// 300 or 600 large.
TEST(ShardsTest, GivesThePapersSplitOfMnist) {
  const Examples examples = MakeExamples(10, 6000, 1);
  const auto partition =
      Make<Shards>({})->Deal(examples.indices, examples.labels, 10, 100);
  ASSERT_TRUE(partition.ok()) << partition.status();
  int64_t with_one_label = 0;
  for (const auto& of_client : ClassCounts(*partition, examples, 10)) {
    int64_t shards = 0;
    int64_t labels = 0;
    for (const int64_t count : of_client) {
      EXPECT_EQ(count % 300, 0);
      shards += count / 300;
      labels += count > 0 ? 1 : 0;
    }
    EXPECT_EQ(shards, 2);
    with_one_label += labels == 1 ? 1 : 0;
  }
  // The second shard is of the first one's label with probability 19/199: 9.5
  // of 100 clients, with a standard deviation of 3.
  EXPECT_GE(with_one_label, 1);
  EXPECT_LE(with_one_label, 25);
}

// Sorted by label and dealt in order, a client of six examples would have the
// first ones of their class.
TEST(ShardsTest, TheExamplesOfAClassAreInRandomOrder) {
  Examples examples;
  for (int64_t i = 0; i < 1000; ++i) {
    examples.indices.push_back(i);
    examples.labels.push_back(0);
  }
  const auto partition = Make<Shards>({.shards_per_client = 1})
                             ->Deal(examples.indices, examples.labels, 1, 10);
  ASSERT_TRUE(partition.ok()) << partition.status();
  for (const auto& share : *partition) {
    const auto [least, most] = std::minmax_element(share.begin(), share.end());
    EXPECT_GT(*most - *least, 500);
  }
}

TEST(ShardsTest, MoreShardsThanExamplesAreRefusedWithAdvice) {
  const Examples examples = MakeExamples(2, 10, 1);
  for (const int64_t shards : {int64_t{6}, int64_t{1} << 62}) {
    EXPECT_THAT(RefusalOf(Make<Shards>({.shards_per_client = shards})
                              ->Deal(examples.indices, examples.labels, 2, 4)),
                AllOf(HasSubstr("partitioner.shards_per_client"),
                      HasSubstr("lower it to 5 or less")));
  }
}

TEST(QuantityTest, InvariantsHoldForRandomConfigurations) {
  RandomStream stream({.seed = 5, .purpose = "test_configs"});
  for (int i = 0; i < 300; ++i) {
    const auto clients = static_cast<int64_t>(1 + stream.Below(40));
    const auto least = static_cast<int64_t>(1 + stream.Below(5));
    const int64_t per_class =
        (clients * least + 2) / 3 + static_cast<int64_t>(stream.Below(200));
    const double sigma = stream.Below(4) == 0 ? 0 : 6 * stream.Uniform();
    const Examples examples = MakeExamples(3, per_class, stream());
    const uint64_t seed = stream();
    const auto deal = [&] {
      return Make<Quantity>({.sigma = sigma, .min_examples = least}, seed)
          ->Deal(examples.indices, examples.labels, 3, clients);
    };
    const auto partition = deal();
    ASSERT_TRUE(partition.ok()) << partition.status();
    EXPECT_EQ(*deal(), *partition);
    EXPECT_EQ(Dealt(*partition), Sorted(examples.indices));
    for (const auto& share : *partition) {
      const auto size = static_cast<int64_t>(share.size());
      EXPECT_GE(size, least);
      if (sigma == 0) {
        EXPECT_GE(size, 3 * per_class / clients);
        EXPECT_LE(size, (3 * per_class + clients - 1) / clients);
      }
    }
  }
}

// The logarithms of 500 sizes around 1000 deviate by sigma, which is known to
// sigma / sqrt(1000) = 0.016; five of them.
TEST(QuantityTest, SizesAreLognormal) {
  const Examples examples = MakeExamples(1, 500'000, 1);
  const auto partition = Make<Quantity>({.sigma = 0.5})
                             ->Deal(examples.indices, examples.labels, 1, 500);
  ASSERT_TRUE(partition.ok()) << partition.status();
  double sum = 0;
  double squares = 0;
  for (const auto& share : *partition) {
    const double value = std::log(static_cast<double>(share.size()));
    sum += value / 500;
    squares += value * value / 500;
  }
  EXPECT_NEAR(std::sqrt(squares - sum * sum), 0.5, 0.08);
}

TEST(QuantityTest, AnExtremeSpreadGivesTheRestToOneClient) {
  const Examples examples = MakeExamples(2, 100, 1);
  const auto partition = Make<Quantity>({.sigma = 100, .min_examples = 7})
                             ->Deal(examples.indices, examples.labels, 2, 10);
  ASSERT_TRUE(partition.ok()) << partition.status();
  std::vector<size_t> sizes;
  for (const auto& share : *partition) {
    sizes.push_back(share.size());
  }
  std::sort(sizes.begin(), sizes.end());
  EXPECT_EQ(sizes.front(), 7);
  EXPECT_GT(sizes.back(), 100);
}

TEST(QuantityTest, AnImpossibleMinimumIsRefusedWithAdvice) {
  const Examples examples = MakeExamples(2, 10, 1);
  EXPECT_THAT(RefusalOf(Make<Quantity>({.min_examples = 6})
                            ->Deal(examples.indices, examples.labels, 2, 4)),
              AllOf(HasSubstr("partitioner.min_examples = 6"),
                    HasSubstr("lower it to 5 or less")));
}

// A file that is removed in the end.
class ListFile {
 public:
  explicit ListFile(const std::string& text)
      : path_(testing::TempDir() + "/fedlb-partition-" +
              std::to_string(getpid()) + ".txt") {
    std::ofstream(path_) << text;
  }
  ~ListFile() { std::remove(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  const std::string path_;
};

// Deals those of ten examples that are not held back to two clients.
absl::StatusOr<Partition> DealByList(const std::string& text,
                                     const std::vector<int64_t>& indices = {
                                         0, 1, 2, 3, 4, 5, 6, 7, 8, 9}) {
  const ListFile file(text);
  auto partitioner = ByList::Create({.path = file.path()}, {});
  if (!partitioner.ok()) {
    return partitioner.status();
  }
  return (*partitioner)->Deal(indices, std::vector<int64_t>(10, 0), 1, 2);
}

TEST(ByListTest, EveryLineIsAClient) {
  const auto partition = DealByList("# written by hand\n9 3, 0\n1,\t2 ,4\r\n");
  ASSERT_TRUE(partition.ok()) << partition.status();
  EXPECT_THAT(*partition,
              ElementsAre(ElementsAre(9, 3, 0), ElementsAre(1, 2, 4)));
}

TEST(ByListTest, TheLastLineNeedsNoEnd) {
  const auto partition = DealByList("0\n1");
  ASSERT_TRUE(partition.ok()) << partition.status();
  EXPECT_THAT(*partition, ElementsAre(ElementsAre(0), ElementsAre(1)));
}

TEST(ByListTest, WhatTheRunHoldsBackIsLeftOut) {
  const auto partition = DealByList("0 1 2\n3 4 5\n", {0, 2, 4, 6});
  ASSERT_TRUE(partition.ok()) << partition.status();
  EXPECT_THAT(*partition, ElementsAre(ElementsAre(0, 2), ElementsAre(4)));
}

TEST(ByListTest, ListsOfRandomPartitionsComeBack) {
  RandomStream stream({.seed = 6, .purpose = "test_configs"});
  for (int i = 0; i < 50; ++i) {
    const Examples examples =
        MakeExamples(2, static_cast<int64_t>(20 + stream.Below(30)), stream());
    const auto clients = static_cast<int64_t>(1 + stream.Below(10));
    const auto dealt =
        Make<Quantity>({}, stream())
            ->Deal(examples.indices, examples.labels, 2, clients);
    ASSERT_TRUE(dealt.ok()) << dealt.status();
    std::string text;
    for (const auto& share : *dealt) {
      for (const int64_t example : share) {
        text += std::to_string(example) + " ";
      }
      text += "\n";
    }
    const ListFile file(text);
    const auto partition =
        Make<ByList>({.path = file.path()})
            ->Deal(examples.indices, examples.labels, 2, clients);
    ASSERT_TRUE(partition.ok()) << partition.status();
    EXPECT_EQ(*partition, *dealt);
  }
}

struct BadList {
  const char* text;
  const char* message;
};

TEST(ByListTest, MistakesAreNamedWithTheirLine) {
  for (const BadList& bad : std::vector<BadList>{
           {"0 1\n2 x\n", ".txt:2: \"x\" is not the number of an example"},
           {"0 1\n2 -3\n", ".txt:2: \"-3\""},
           {"0 1\n2 +3\n", ".txt:2: \"+3\""},
           {"0 1\n2 3.0\n", ".txt:2: \"3.0\""},
           {"0\n99999999999999999999\n", ".txt:2: \"99999999999999999999\""},
           {"0 1\n\n2\n", ".txt:2: client 1 has no examples"},
           {"", ".txt:1: client 0 has no examples"},
           {"# nobody\n", "lists 0 clients"},
           {"0 1\n# comment\n2 10\n",
            ".txt:3: there is no example 10; the train split has 10"},
           {"0 1\n2 0\n", ".txt:2: example 0 is on line 1 already"},
           {"0 1\n2 2\n", ".txt:2: example 2 is on line 2 already"},
           {"0 1\n2\n3\n", "set federation.clients = 3 instead of 2"}}) {
    const absl::Status status = DealByList(bad.text).status();
    EXPECT_EQ(FailureOf(status), Failure::kInputFile) << bad.text;
    EXPECT_THAT(std::string(status.message()), HasSubstr(bad.message));
  }
}

TEST(ByListTest, AClientWhoseExamplesAreAllHeldBackIsNamed) {
  const absl::Status status = DealByList("0 1\n2 3\n", {0, 1, 4}).status();
  EXPECT_EQ(FailureOf(status), Failure::kInputFile);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("examples of client 1"),
                    HasSubstr("dataset.validation_fraction")));
}

TEST(ByListTest, AFileThatIsNotThereIsNamed) {
  for (const char* path : {"", "/no/such/list"}) {
    const absl::Status status = ByList::Create({.path = path}, {}).status();
    EXPECT_EQ(FailureOf(status), Failure::kInputFile);
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("partitioner.path"), HasSubstr(path)));
  }
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
