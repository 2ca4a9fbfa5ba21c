#include "fedlb/file_aggregation.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "aggregation/bulyan.h"
#include "aggregation/dp_mean.h"
#include "aggregation/fednova.h"
#include "aggregation/geometric_median.h"
#include "aggregation/krum.h"
#include "aggregation/mean.h"
#include "aggregation/median.h"
#include "aggregation/norm_clipping.h"
#include "aggregation/trimmed_mean.h"
#include "core/storage_testing.h"
#include "core/tensor_testing.h"
#include "fedlb/random.h"
#include "fedlb/round_task.h"
#include "fedlb/safetensors.h"
#include "fedlb/status.h"
#include "fedlb/tensor_list.h"
#include "optim/fedopt.h"
#include "optim/sgd.h"
#include "plugins/make_component.h"
#include "plugins/recording_logger.h"

namespace fedlb {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// More columns than a block holds, a tensor without elements and one that is no
// column among them.
constexpr int64_t kWide = 40'001;

SafetensorsFile UpdateFileOf(uint64_t seed, int64_t num_examples,
                             at::ScalarType dtype = at::kFloat) {
  RandomStream random({.seed = seed, .purpose = "test_update"});
  const auto tensor = [&](std::vector<int64_t> sizes) {
    at::Tensor values = at::empty(sizes, at::kDouble);
    for (int64_t i = 0; i < values.numel(); ++i) {
      values.data_ptr<double>()[i] = random.Normal();
    }
    return values.to(dtype);
  };
  SafetensorsFile file;
  file.tensors.emplace_back("a.weight", tensor({3, 5}));
  file.tensors.emplace_back("none", tensor({0, 4}));
  file.tensors.emplace_back("batches", at::full({2}, 7, at::kLong));
  file.tensors.emplace_back("b.weight", tensor({kWide}));
  file.tensors.emplace_back("b.bias", tensor({1}));
  file.metadata["fedlb.kind"] = "delta";
  file.metadata["fedlb.num_examples"] = absl::StrCat(num_examples);
  file.metadata["fedlb.local_steps"] = absl::StrCat(1 + seed % 3);
  return file;
}

SafetensorsFile FloatsOnly(SafetensorsFile file) {
  std::erase_if(file.tensors, [](const auto& entry) {
    return !entry.second.is_floating_point();
  });
  return file;
}

TensorList TensorsOf(const SafetensorsFile& file) {
  TensorList tensors;
  for (const auto& [name, tensor] : FloatsOnly(file).tensors) {
    tensors.push_back(tensor);
  }
  return tensors;
}

// What the rule makes of the same updates in memory.
TensorList InMemory(Aggregator& rule,
                    const std::vector<SafetensorsFile>& updates) {
  TensorLayout layout;
  for (const auto& [name, tensor] : FloatsOnly(updates[0]).tensors) {
    layout.push_back({name, tensor.sizes().vec(), tensor.scalar_type()});
  }
  EXPECT_TRUE(rule.Begin(layout).ok());
  int64_t client = 0;
  for (const SafetensorsFile& file : updates) {
    Update update;
    update.kind = Update::Kind::kDelta;
    update.client = client++;
    update.num_examples = std::stoll(file.metadata.at("fedlb.num_examples"));
    update.local_steps = std::stoll(file.metadata.at("fedlb.local_steps"));
    update.groups[kParametersGroup] = TensorsOf(file);
    EXPECT_TRUE(rule.Add(update).ok());
  }
  return rule.Finish().value();
}

class FileAggregationTest : public ::testing::Test {
 protected:
  FileAggregationTest() {
    options_.output = folder_ / "result.safetensors";
    options_.logger = &logger_;
  }

  void AddFile(const std::string& bytes) {
    options_.updates.push_back(folder_ /
                               absl::StrCat("update", options_.updates.size()));
    Write(options_.updates.back(), bytes);
  }
  void Add(const SafetensorsFile& file,
           SafetensorsDigest digest = SafetensorsDigest::kXxh3) {
    AddFile(SerializeSafetensors(file, digest).value());
  }
  std::vector<SafetensorsFile> AddCohort(int64_t size) {
    std::vector<SafetensorsFile> cohort;
    for (int64_t k = 0; k < size; ++k) {
      cohort.push_back(
          UpdateFileOf(static_cast<uint64_t>(100 + k), 10 + 7 * (k % 5)));
      Add(cohort.back());
    }
    return cohort;
  }

  absl::Status Run(Aggregator& rule) {
    const auto sgd = Make<optim::Sgd>("lr = 1.0");
    return AggregateFiles(options_, rule, *sgd, report_);
  }
  absl::Status RunMean() { return Run(*Make<aggregation::Mean>("")); }

  SafetensorsFile Result() { return ReadSafetensors(options_.output).value(); }

  template <typename Rule>
  void ExpectAsInMemory(const std::string& settings,
                        const std::vector<SafetensorsFile>& cohort,
                        bool same_bits) {
    const absl::Status status = Run(*Make<Rule>(settings));
    ASSERT_TRUE(status.ok()) << Rule::kName << ": " << status;
    const TensorList result = TensorsOf(Result());
    const TensorList expected = InMemory(*Make<Rule>(settings), cohort);
    ASSERT_EQ(result.size(), expected.size());
    for (size_t i = 0; i < result.size(); ++i) {
      if (same_bits) {
        EXPECT_TRUE(SameBits(result[i], expected[i])) << Rule::kName << i;
      } else {
        EXPECT_TRUE(result[i].allclose(expected[i], 1e-6, 1e-9))
            << Rule::kName << i;
      }
    }
  }

  TemporaryFolder folder_;
  RecordingLogger logger_;
  FileAggregationOptions options_;
  FileAggregationReport report_;
};

TEST_F(FileAggregationTest, EveryRuleIsThatOfUpdatesInMemory) {
  const std::vector<SafetensorsFile> cohort = AddCohort(11);
  for (const int threads : {1, 3}) {
    at::set_num_threads(threads);
    ExpectAsInMemory<aggregation::Mean>("", cohort, true);
    ExpectAsInMemory<aggregation::FedNova>("", cohort, true);
    ExpectAsInMemory<aggregation::CoordinateMedian>("", cohort, true);
    ExpectAsInMemory<aggregation::TrimmedMeanRule>("trim = 0.2", cohort, true);
    ExpectAsInMemory<aggregation::Krum>("byzantine = 3", cohort, true);
    ExpectAsInMemory<aggregation::Krum>("select = 0", cohort, true);
    ExpectAsInMemory<aggregation::Bulyan>("byzantine = 2", cohort, true);
    ExpectAsInMemory<aggregation::GeometricMedian>("", cohort, false);
    ExpectAsInMemory<aggregation::NormClipping>("max_norm = 150.0", cohort,
                                                false);
  }
  at::set_num_threads(1);
}

// Integers are not averaged; names, shapes, kind and examples are kept.
TEST_F(FileAggregationTest, TheResultIsAnUpdateAgain) {
  Add(UpdateFileOf(1, 30));
  Add(UpdateFileOf(2, 12));
  ASSERT_TRUE(RunMean().ok());
  const SafetensorsFile result = Result();
  EXPECT_EQ(result.metadata.at("fedlb.kind"), "delta");
  EXPECT_EQ(result.metadata.at("fedlb.num_examples"), "42");
  ASSERT_NE(result.Find("batches"), nullptr);
  EXPECT_EQ(result.Find("batches")->sum().item<int64_t>(), 14);
  EXPECT_THAT(result.Find("none")->sizes().vec(), ElementsAre(0, 4));
  EXPECT_EQ(report_.num_parameters, 15 + kWide + 1);
  EXPECT_EQ(report_.num_examples, 42);
}

TEST_F(FileAggregationTest, TellsNormsSharesAndAngles) {
  const std::vector<SafetensorsFile> cohort = {UpdateFileOf(1, 30),
                                               UpdateFileOf(2, 10)};
  Add(cohort[0]);
  Add(cohort[1]);
  ASSERT_TRUE(RunMean().ok());
  const TensorList mean = TensorsOf(Result());
  for (size_t k = 0; k < 2; ++k) {
    const TensorList update = TensorsOf(cohort[k]);
    const FileUpdateReport& report = report_.updates[k];
    EXPECT_TRUE(report.chosen);
    EXPECT_FALSE(report.clipped);
    EXPECT_DOUBLE_EQ(report.share, k == 0 ? 0.75 : 0.25);
    EXPECT_NEAR(report.norm, std::sqrt(SquaredNorm(update)), 1e-6);
    EXPECT_NEAR(
        report.cosine,
        Dot(update, mean) / std::sqrt(SquaredNorm(update) * SquaredNorm(mean)),
        1e-9);
  }
  EXPECT_NEAR(report_.norm, std::sqrt(SquaredNorm(mean)), 1e-6);
}

TEST_F(FileAggregationTest, TellsWhomTheRuleLeftOutOrClipped) {
  AddCohort(7);
  ASSERT_TRUE(Run(*Make<aggregation::Krum>("byzantine = 2")).ok());
  EXPECT_EQ(std::count_if(report_.updates.begin(), report_.updates.end(),
                          [](const auto& update) { return update.chosen; }),
            1);
  ASSERT_TRUE(Run(*Make<aggregation::NormClipping>("max_norm = 1.0")).ok());
  EXPECT_TRUE(report_.updates[3].clipped);
  EXPECT_NEAR(report_.updates[3].share * report_.updates[3].norm, 1.0 / 7,
              1e-12);
}

// Another order of tensors, other floating types, a type that no other has.
TEST_F(FileAggregationTest, FilesMayDifferInOrderAndType) {
  SafetensorsFile reversed = UpdateFileOf(1, 1);
  std::reverse(reversed.tensors.begin(), reversed.tensors.end());
  const SafetensorsFile half = UpdateFileOf(2, 1, at::kHalf);
  const SafetensorsFile brain = UpdateFileOf(3, 1, at::kBFloat16);
  Add(UpdateFileOf(4, 1));
  Add(reversed);
  Add(half, SafetensorsDigest::kNone);
  Add(brain, SafetensorsDigest::kSha256);
  ASSERT_TRUE(RunMean().ok());
  for (const char* name : {"a.weight", "b.weight", "b.bias"}) {
    at::Tensor mean = UpdateFileOf(4, 1).Find(name)->to(at::kDouble);
    mean = mean.add(*reversed.Find(name)).add(*half.Find(name));
    mean = mean.add(*brain.Find(name)).div(4);
    EXPECT_TRUE(Result().Find(name)->to(at::kDouble).allclose(mean, 1e-6, 1e-9))
        << name;
  }
}

TEST_F(FileAggregationTest, DoublesStayDoubles) {
  Add(UpdateFileOf(1, 1, at::kDouble));
  Add(UpdateFileOf(2, 1, at::kDouble));
  ASSERT_TRUE(RunMean().ok());
  const at::Tensor expected =
      UpdateFileOf(1, 1, at::kDouble)
          .Find("b.weight")
          ->add(*UpdateFileOf(2, 1, at::kDouble).Find("b.weight"))
          .div(2);
  EXPECT_TRUE(SameBits(*Result().Find("b.weight"), expected));
}

// Every fault leaves out its own file and no other; the result is that of the
// rest.
TEST_F(FileAggregationTest, BadUpdatesAreLeftOut) {
  const std::vector<SafetensorsFile> good = AddCohort(3);
  const std::string bytes = SerializeSafetensors(UpdateFileOf(1, 5)).value();
  SafetensorsFile file = UpdateFileOf(1, 5);
  file.tensors[3].second[kWide - 1] = std::nanf("");
  Add(file);
  file = UpdateFileOf(1, 5);
  file.tensors[3].second[20'000] = HUGE_VALF;
  Add(file, SafetensorsDigest::kNone);
  file = UpdateFileOf(1, 5);
  file.tensors[0].second = file.tensors[0].second.reshape({5, 3});
  Add(file);
  file = UpdateFileOf(1, 5);
  file.tensors[4].first = "b.other";
  Add(file);
  file = UpdateFileOf(1, 5);
  file.tensors.emplace_back("more", at::full({2}, 1, at::kFloat));
  Add(file);
  file = UpdateFileOf(1, 5);
  file.tensors[4].second = file.tensors[4].second.to(at::kInt);
  Add(file);
  file = UpdateFileOf(1, 5);
  file.metadata["fedlb.kind"] = "gradient";
  Add(file);
  file = UpdateFileOf(1, 5);
  file.metadata["fedlb.num_examples"] = "0";
  Add(file);
  file.metadata["fedlb.num_examples"] = "9223372036854775807";
  Add(file);
  file.metadata["fedlb.num_examples"] = "many";
  Add(file);
  file = UpdateFileOf(1, 5);
  file.metadata.erase("fedlb.num_examples");
  Add(file);
  AddFile(bytes.substr(0, bytes.size() - 1));
  AddFile(bytes.substr(0, 100));
  AddFile("");
  std::string flipped = bytes;
  flipped[flipped.size() - 2000] ^= 1;
  AddFile(flipped);
  options_.updates.push_back(folder_ / "nowhere");

  ASSERT_TRUE(RunMean().ok());
  const std::vector<std::string> reasons = {
      "",
      "",
      "",
      "a value is not finite",
      "a value is not finite",
      "'a.weight' is of shape [5, 3]",
      "'b.bias' is missing",
      "'more' is in no other file",
      "'b.bias' is of type I32",
      "it holds a gradient, not a delta",
      "claims 0 examples",
      "claims 9223372036854775807 examples",
      "'many', not a whole number",
      "it does not say fedlb.num_examples",
      "",
      "",
      "",
      "does not match its digest",
      "No such file"};
  ASSERT_THAT(report_.updates, SizeIs(reasons.size()));
  for (size_t k = 0; k < reasons.size(); ++k) {
    EXPECT_THAT(report_.updates[k].rejected, HasSubstr(reasons[k])) << k;
    EXPECT_EQ(report_.updates[k].rejected.empty(), k < 3) << k;
    EXPECT_EQ(report_.updates[k].chosen, k < 3) << k;
  }
  EXPECT_EQ(report_.num_accepted, 3);
  const TensorList expected = InMemory(*Make<aggregation::Mean>(""), good);
  const TensorList result = TensorsOf(Result());
  for (size_t i = 0; i < result.size(); ++i) {
    EXPECT_TRUE(SameBits(result[i], expected[i])) << i;
  }
}

// Whatever is changed in a file that carries its digests is found.
TEST_F(FileAggregationTest, EveryDamageIsFound) {
  SafetensorsFile file;
  file.tensors = {{"w", at::full({40}, 0.5, at::kFloat)},
                  {"n", at::full({3}, 7, at::kLong)},
                  {"v", at::full({9}, 0.25, at::kBFloat16)}};
  file.metadata = {{"fedlb.kind", "delta"}, {"fedlb.num_examples", "5"}};
  const std::string bytes =
      SerializeSafetensors(file, SafetensorsDigest::kXxh3).value();
  AddFile(bytes);
  ASSERT_TRUE(RunMean().ok());
  RandomStream random({.seed = 1, .purpose = "damage"});
  for (int trial = 0; trial < 2000; ++trial) {
    std::string damaged = bytes;
    const auto at = static_cast<size_t>(random.Below(damaged.size()));
    switch (random.Below(4)) {
      case 0:
        damaged[at] = static_cast<char>(damaged[at] ^ (1 << random.Below(8)));
        break;
      case 1:
        damaged.resize(at);
        break;
      case 2:
        damaged.insert(at, 1, static_cast<char>(random.Below(256)));
        break;
      default:
        damaged.erase(at, 1 + random.Below(20));
        break;
    }
    if (damaged == bytes) {
      continue;
    }
    Write(options_.updates[0], damaged);
    const absl::Status status = RunMean();
    ASSERT_FALSE(status.ok()) << trial << ": " << absl::CHexEscape(damaged);
    const Failure failure = FailureOf(status);
    ASSERT_TRUE(failure == Failure::kDeadline || failure == Failure::kUsage)
        << status;
  }
}

// Three bad files, each bad in another block: one pass finds all, one more
// makes the aggregate.
TEST_F(FileAggregationTest, OnePassFindsAllThatIsBad) {
  AddCohort(2);
  for (const int64_t place : {int64_t{0}, int64_t{20'000}, kWide - 1}) {
    SafetensorsFile file = UpdateFileOf(1, 5);
    file.tensors[3].second[place] = std::nanf("");
    Add(file);
  }
  ASSERT_TRUE(RunMean().ok());
  EXPECT_EQ(report_.num_accepted, 2);
  EXPECT_EQ(report_.bytes_read % 7, 0);
  const int64_t file_bytes = report_.bytes_read / 7;
  EXPECT_NEAR(static_cast<double>(file_bytes), 4.0 * (kWide + 16) + 16, 64);
}

TEST_F(FileAggregationTest, ClaimsOfStepsAreBounded) {
  AddCohort(2);
  SafetensorsFile file = UpdateFileOf(1, 5);
  file.metadata["fedlb.local_steps"] = "4611686018427387904";
  Add(file);
  file.metadata["fedlb.local_steps"] = "-1";
  Add(file);
  file.metadata.erase("fedlb.kind");
  Add(file);
  ASSERT_TRUE(RunMean().ok());
  EXPECT_EQ(report_.num_accepted, 2);
  EXPECT_THAT(report_.updates[3].rejected, HasSubstr("claims -1 local steps"));
  EXPECT_THAT(report_.updates[4].rejected,
              HasSubstr("does not say fedlb.kind"));
}

// Names that agree in their first 64 bytes are others all the same.
TEST_F(FileAggregationTest, LongNamesAreComparedWhole) {
  const std::string name(80, 'n');
  for (const char* end : {"a", "b", "b"}) {
    SafetensorsFile file;
    file.tensors = {{name + end, at::full({2}, 1, at::kFloat)}};
    file.metadata = {{"fedlb.kind", "delta"}};
    Add(file);
  }
  ASSERT_TRUE(RunMean().ok());
  EXPECT_FALSE(report_.updates[0].rejected.empty());
  EXPECT_EQ(report_.num_accepted, 2);
}

TEST_F(FileAggregationTest, TheGateBoundsNormsAndCounts) {
  AddCohort(2);
  SafetensorsFile large = UpdateFileOf(3, 10);
  large.tensors[3].second.mul_(100);
  Add(large);
  options_.gate.max_norm = 1000;
  options_.gate.max_examples = 16;
  ASSERT_TRUE(RunMean().ok());
  EXPECT_THAT(report_.updates[0].rejected, IsEmpty());
  EXPECT_THAT(report_.updates[1].rejected, HasSubstr("1 to 16 are allowed"));
  EXPECT_THAT(report_.updates[2].rejected,
              HasSubstr("more than update_gate.max_norm = 1000"));
}

TEST_F(FileAggregationTest, StrictFailsAndWritesNothing) {
  AddCohort(2);
  AddFile("");
  options_.strict = true;
  EXPECT_EQ(FailureOf(RunMean()), Failure::kInputFile);
  EXPECT_THAT(NamesIn(folder_.path()),
              ElementsAre("update0", "update1", "update2"));
}

TEST_F(FileAggregationTest, TooFewAreAnError) {
  AddCohort(4);
  AddFile("");
  const absl::Status status = Run(*Make<aggregation::Krum>("byzantine = 1"));
  EXPECT_EQ(FailureOf(status), Failure::kDeadline);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("4 of 5 updates can be used and the rule needs 5; "
                        "first cause: cannot read"));
  EXPECT_FALSE(report_.updates[4].rejected.empty());
}

TEST_F(FileAggregationTest, StopsWhenAsked) {
  AddCohort(2);
  std::atomic<int> stop = 1;
  options_.stop = &stop;
  EXPECT_EQ(FailureOf(RunMean()), Failure::kInterrupted);
  EXPECT_THAT(NamesIn(folder_.path()), ElementsAre("update0", "update1"));
}

TEST_F(FileAggregationTest, AKindMustBeKnown) {
  SafetensorsFile plain = UpdateFileOf(1, 1);
  plain.metadata.clear();
  Add(plain, SafetensorsDigest::kNone);
  const absl::Status status = RunMean();
  EXPECT_EQ(FailureOf(status), Failure::kUsage);
  EXPECT_THAT(std::string(status.message()), HasSubstr("give --kind"));
  options_.kind = "gradient";
  ASSERT_TRUE(RunMean().ok());
  EXPECT_EQ(report_.updates[0].num_examples, 1);
  EXPECT_EQ(Result().metadata.at("fedlb.kind"), "gradient");
}

// Base 10, deltas 1 and 4 with shares 1/3 and 2/3: 13.
class BaseTest : public FileAggregationTest {
 protected:
  BaseTest() {
    options_.base = folder_ / "base.safetensors";
    SafetensorsFile base;
    base.tensors = {{"extra", at::full({2}, 5, at::kFloat)},
                    {"w", at::full({3}, 10, at::kFloat)},
                    {"count", at::full({1}, 9, at::kLong)}};
    base.metadata = {{"note", "kept"}};
    Write(options_.base, SerializeSafetensors(base).value());
  }
  void AddValue(double value, const std::string& kind, int64_t num_examples) {
    SafetensorsFile file;
    file.tensors = {{"w", at::full({3}, value, at::kFloat)}};
    file.metadata = {{"fedlb.kind", kind},
                     {"fedlb.num_examples", absl::StrCat(num_examples)}};
    Add(file);
  }
  double NewWeight() { return Result().Find("w")->select(0, 1).item<float>(); }
};

TEST_F(BaseTest, DeltasAreAdded) {
  AddValue(1, "delta", 1);
  AddValue(4, "delta", 2);
  ASSERT_TRUE(RunMean().ok());
  EXPECT_EQ(NewWeight(), 13);
  const SafetensorsFile result = Result();
  EXPECT_EQ(result.metadata.at("fedlb.kind"), "weights");
  EXPECT_EQ(result.metadata.at("note"), "kept");
  EXPECT_THAT(ToVector(result.Find("extra")->to(at::kDouble)),
              ElementsAre(5, 5));
  EXPECT_EQ(result.Find("count")->item<int64_t>(), 9);
}

TEST_F(BaseTest, GradientsAreDescended) {
  AddValue(1, "gradient", 1);
  AddValue(4, "gradient", 2);
  ASSERT_TRUE(RunMean().ok());
  EXPECT_EQ(NewWeight(), 7);
}

TEST_F(BaseTest, WeightsAreComparedWithTheBase) {
  AddValue(11, "weights", 1);
  AddValue(14, "weights", 2);
  ASSERT_TRUE(RunMean().ok());
  EXPECT_EQ(NewWeight(), 13);
  EXPECT_NEAR(report_.updates[1].norm, 4 * std::sqrt(3.0), 1e-12);
}

TEST_F(BaseTest, WeightsWithoutABaseAreAveraged) {
  options_.base.clear();
  AddValue(11, "weights", 1);
  AddValue(14, "weights", 2);
  ASSERT_TRUE(RunMean().ok());
  EXPECT_EQ(NewWeight(), 13);
  EXPECT_EQ(Result().metadata.at("fedlb.kind"), "weights");
}

TEST_F(BaseTest, UpdatesMustFitTheBase) {
  AddValue(1, "delta", 1);
  SafetensorsFile other;
  other.tensors = {{"v", at::full({3}, 1, at::kFloat)}};
  other.metadata = {{"fedlb.kind", "delta"}, {"fedlb.num_examples", "1"}};
  Add(other);
  Add(other);
  ASSERT_TRUE(RunMean().ok());
  EXPECT_EQ(NewWeight(), 11);
  EXPECT_THAT(report_.updates[1].rejected,
              HasSubstr("the base has no floating tensor 'v'"));
}

TEST_F(BaseTest, ABaseMustBeWeights) {
  AddValue(1, "delta", 1);
  options_.base = options_.updates[0];
  const absl::Status status = RunMean();
  EXPECT_EQ(FailureOf(status), Failure::kInputFile);
  EXPECT_THAT(std::string(status.message()), HasSubstr("holds a delta"));
}

// v = 0.5 v + (w - mean), w -= v, with a mean delta of 1 each time: 10, 11,
// 12.5, 14.25.
TEST_F(BaseTest, MomentumLivesInTheState) {
  AddValue(1, "delta", 1);
  options_.state = folder_ / "state.safetensors";
  options_.settings_text = "name = \"fedavgm\"\n";
  options_.output = options_.base;
  for (const double expected : {11.0, 12.5, 14.25}) {
    const auto mean = Make<aggregation::Mean>("");
    const auto momentum = Make<optim::FedAvgM>("lr = 1.0\nmomentum = 0.5");
    ASSERT_TRUE(AggregateFiles(options_, *mean, *momentum, report_).ok());
    EXPECT_EQ(NewWeight(), expected);
  }
  EXPECT_EQ(report_.round, 3);
  EXPECT_THAT(logger_.warnings, IsEmpty());

  // Other weights than those the state was made with.
  SafetensorsFile base = ReadSafetensors(options_.base).value();
  base.tensors[1].second.fill_(0);
  Write(options_.base, SerializeSafetensors(base).value());
  const auto mean = Make<aggregation::Mean>("");
  const auto momentum = Make<optim::FedAvgM>("lr = 1.0\nmomentum = 0.5");
  ASSERT_TRUE(AggregateFiles(options_, *mean, *momentum, report_).ok());
  ASSERT_THAT(logger_.warnings, SizeIs(1));
  EXPECT_THAT(logger_.warnings[0], HasSubstr("belongs to other weights"));

  options_.settings_text = "name = \"fedadam\"\n";
  absl::Status status = AggregateFiles(options_, *mean, *momentum, report_);
  EXPECT_EQ(FailureOf(status), Failure::kConfig);
  EXPECT_THAT(std::string(status.message()), HasSubstr("fedavgm"));

  options_.state = options_.base;
  status = AggregateFiles(options_, *mean, *momentum, report_);
  EXPECT_EQ(FailureOf(status), Failure::kInputFile);
  EXPECT_THAT(std::string(status.message()), HasSubstr("is no state"));
}

// The order and the types of the base's tensors, and not those of the files,
// are those of the state.
TEST_F(BaseTest, TheStateDoesNotHangOnTheFiles) {
  SafetensorsFile base;
  base.tensors = {{"p", at::full({2}, 0, at::kFloat)},
                  {"q", at::full({2}, 0, at::kFloat)}};
  Write(options_.base, SerializeSafetensors(base).value());
  options_.state = folder_ / "state.safetensors";
  options_.output = options_.base;
  const auto run = [this](const SafetensorsFile& update) {
    options_.updates.clear();
    Add(update);
    const auto mean = Make<aggregation::Mean>("");
    const auto momentum = Make<optim::FedAvgM>("lr = 1.0\nmomentum = 0.5");
    const absl::Status status =
        AggregateFiles(options_, *mean, *momentum, report_);
    EXPECT_TRUE(status.ok()) << status;
  };
  SafetensorsFile update;
  update.metadata = {{"fedlb.kind", "delta"}};
  update.tensors = {{"q", at::full({2}, 1, at::kFloat)},
                    {"p", at::full({2}, 10, at::kFloat)}};
  run(update);
  update.tensors = {{"p", at::full({2}, 10, at::kDouble)},
                    {"q", at::full({2}, 1, at::kDouble)}};
  run(update);
  // 1 + 1.5, 10 + 15.
  EXPECT_EQ(Result().Find("q")->select(0, 0).item<float>(), 2.5F);
  EXPECT_EQ(Result().Find("p")->select(0, 0).item<float>(), 25);
}

TEST_F(BaseTest, ARuleWithAMemoryNeedsAState) {
  AddValue(1, "delta", 1);
  EXPECT_EQ(FailureOf(Run(*Make<aggregation::DpMean>(""))), Failure::kConfig);
  options_.state = folder_ / "state.safetensors";
  ASSERT_TRUE(Run(*Make<aggregation::DpMean>("")).ok());
  const double once = report_.rule_report.at("epsilon");
  ASSERT_TRUE(Run(*Make<aggregation::DpMean>("")).ok());
  EXPECT_GT(report_.rule_report.at("epsilon"), once);
}

// 70,000 is more than half precision holds.
TEST_F(BaseTest, WhatIsNotFiniteIsNotWritten) {
  SafetensorsFile base;
  base.tensors = {{"w", at::full({3}, 10, at::kHalf)}};
  const std::string bytes = SerializeSafetensors(base).value();
  Write(options_.base, bytes);
  options_.output = options_.base;
  AddValue(70'000, "delta", 1);
  EXPECT_EQ(FailureOf(RunMean()), Failure::kDiverged);
  EXPECT_EQ(Contents(options_.base), bytes);
}

TEST_F(BaseTest, AFullDiskLeavesTheBaseAsItIs) {
  AddValue(1, "delta", 1);
  options_.output = options_.base;
  const int code = RunInChild([this] {
    const std::string disk = folder_ / "disk";
    std::filesystem::create_directory(disk);
    if (!MountSmallDisk(disk, 4096)) {
      return kNotAllowed;
    }
    options_.output = disk + "/result";
    Write(disk + "/filler", std::string(4096, 'x'));
    const absl::Status status = RunMean();
    EXPECT_EQ(FailureOf(status), Failure::kStorage) << status;
    return 0;
  });
  if (code == kNotAllowed) {
    GTEST_SKIP() << "no mount namespaces here";
  }
  EXPECT_EQ(code, 0);
}

// A rule that keeps whole updates: the largest of each element.
class LargestRule final : public Aggregator {
 private:
  absl::Status DoBegin(const TensorLayout& /*layout*/) override {
    largest_.clear();
    return absl::OkStatus();
  }
  absl::Status DoAdd(const Update& update) override {
    if (largest_.empty()) {
      largest_ = Clone(update.parameters());
      return absl::OkStatus();
    }
    for (size_t i = 0; i < largest_.size(); ++i) {
      largest_[i] = largest_[i].maximum(update.parameters()[i]);
    }
    return absl::OkStatus();
  }
  absl::StatusOr<TensorList> DoFinish() override { return largest_; }

  TensorList largest_;
};

TEST_F(FileAggregationTest, RulesOfAnyKindWork) {
  const std::vector<SafetensorsFile> cohort = AddCohort(3);
  SafetensorsFile bad = UpdateFileOf(9, 1);
  bad.tensors[3].second[5] = HUGE_VALF;
  Add(bad);
  LargestRule rule;
  ASSERT_TRUE(Run(rule).ok());
  at::Tensor expected = *cohort[0].Find("b.weight");
  expected = expected.maximum(*cohort[1].Find("b.weight"))
                 .maximum(*cohort[2].Find("b.weight"));
  EXPECT_TRUE(SameBits(*Result().Find("b.weight"), expected));
  EXPECT_FALSE(report_.updates[3].rejected.empty());
  EXPECT_GT(report_.updates[0].cosine, 0.1);
}

}  // namespace
}  // namespace fedlb
