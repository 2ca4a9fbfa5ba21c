#include "fedlb/round_task.h"

#include <cmath>
#include <limits>
#include <random>
#include <string>

#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/base/casts.h"
#include "absl/strings/str_cat.h"
#include "core/tensor_testing.h"
#include "fedlb/safetensors.h"

namespace fedlb {
namespace {

using ::testing::HasSubstr;

bool SameDouble(double a, double b) {
  return std::isnan(a)
             ? std::isnan(b)
             : absl::bit_cast<uint64_t>(a) == absl::bit_cast<uint64_t>(b);
}

double RandomDouble(std::mt19937_64& random) {
  constexpr double kSpecial[] = {0.0,
                                 -0.0,
                                 0.1,
                                 std::numeric_limits<double>::infinity(),
                                 -std::numeric_limits<double>::infinity(),
                                 std::numeric_limits<double>::quiet_NaN(),
                                 std::numeric_limits<double>::denorm_min(),
                                 std::numeric_limits<double>::max(),
                                 std::numeric_limits<double>::lowest()};
  const size_t choice = random() % (2 * std::size(kSpecial));
  return choice < std::size(kSpecial) ? kSpecial[choice]
                                      : absl::bit_cast<double>(random());
}

TensorList RandomList(std::mt19937_64& random) {
  TensorList list(random() % 4);
  for (at::Tensor& tensor : list) {
    tensor = RandomTensor(random);
  }
  return list;
}

// Names with everything that the encoding uses itself.
std::string RandomName(std::mt19937_64& random) {
  constexpr const char* kNames[] = {"client_algorithm.c",
                                    "a/0",
                                    "weights",
                                    "\u0394\"g\"",
                                    "",
                                    "x.y.z/",
                                    "aux.",
                                    "0"};
  return kNames[random() % std::size(kNames)];
}

TensorGroups RandomGroups(std::mt19937_64& random) {
  TensorGroups groups;
  const size_t count = random() % 4;
  for (size_t i = 0; i < count; ++i) {
    groups[RandomName(random)] = RandomList(random);
  }
  return groups;
}

ScalarMap RandomScalars(std::mt19937_64& random) {
  ScalarMap scalars;
  const size_t count = random() % 6;
  for (size_t i = 0; i < count; ++i) {
    scalars[RandomName(random)] = RandomDouble(random);
  }
  return scalars;
}

void ExpectSameList(const TensorList& a, const TensorList& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_TRUE(SameBits(a[i], b[i])) << i;
  }
}

void ExpectSameGroups(const TensorGroups& a, const TensorGroups& b) {
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [name, list] : a) {
    ASSERT_TRUE(b.contains(name)) << name;
    ExpectSameList(list, b.at(name));
  }
}

void ExpectSameScalars(const ScalarMap& a, const ScalarMap& b) {
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [name, value] : a) {
    ASSERT_TRUE(b.contains(name)) << name;
    EXPECT_TRUE(SameDouble(value, b.at(name))) << name << " = " << value;
  }
}

RoundTask SampleTask() {
  RoundTask task;
  task.round = 12;
  task.work = {RoundWork::Kind::kLocalSteps, 5, 0};
  task.lr = 0.1;
  task.weights = {at::full({2}, 1.5, at::kFloat), at::zeros({0})};
  task.aux["client_algorithm.c"] = {at::full({}, 7, at::kLong)};
  task.scalars["gain"] = 4;
  return task;
}

Update SampleUpdate() {
  Update update;
  update.kind = Update::Kind::kDelta;
  update.round = 12;
  update.client = 3;
  update.num_examples = 640;
  update.local_steps = 5;
  update.groups[kParametersGroup] = {at::full({2}, -0.5, at::kFloat)};
  update.scalars["train_loss"] = 0.25;
  return update;
}

template <typename T>
T Must(absl::StatusOr<T> value) {
  EXPECT_TRUE(value.ok()) << value.status();
  return value.ok() ? *std::move(value) : T();
}

TEST(EncodeTaskTest, RoundTripsRandomTasksBitForBit) {
  std::mt19937_64 random(20260106);
  for (int i = 0; i < 300; ++i) {
    RoundTask task;
    task.round = static_cast<int64_t>(random());
    task.work.kind = random() % 2 == 0 ? RoundWork::Kind::kGradient
                                       : RoundWork::Kind::kLocalSteps;
    task.work.local_steps = static_cast<int64_t>(random());
    task.work.local_epochs = RandomDouble(random);
    task.work.base_round = static_cast<int64_t>(random() % 5) - 1;
    task.lr = RandomDouble(random);
    task.weights = RandomList(random);
    task.buffers = RandomList(random);
    task.aux = RandomGroups(random);
    task.scalars = RandomScalars(random);

    const std::string bytes = Must(EncodeTask(task));
    const RoundTask decoded = Must(DecodeTask(bytes));
    EXPECT_EQ(decoded.round, task.round);
    EXPECT_EQ(decoded.work.kind, task.work.kind);
    EXPECT_EQ(decoded.work.local_steps, task.work.local_steps);
    EXPECT_TRUE(SameDouble(decoded.work.local_epochs, task.work.local_epochs));
    EXPECT_EQ(decoded.work.base_round, task.work.base_round);
    EXPECT_TRUE(SameDouble(decoded.lr, task.lr));
    ExpectSameList(decoded.weights, task.weights);
    ExpectSameList(decoded.buffers, task.buffers);
    ExpectSameGroups(decoded.aux, task.aux);
    ExpectSameScalars(decoded.scalars, task.scalars);
    EXPECT_EQ(Must(EncodeTask(decoded)), bytes);
  }
}

TEST(EncodeUpdateTest, RoundTripsRandomUpdatesBitForBit) {
  std::mt19937_64 random(20260107);
  for (int i = 0; i < 300; ++i) {
    Update update;
    update.kind =
        random() % 2 == 0 ? Update::Kind::kGradient : Update::Kind::kDelta;
    update.round = static_cast<int64_t>(random());
    update.client = static_cast<int64_t>(random());
    update.num_examples = static_cast<int64_t>(random());
    update.local_steps = static_cast<int64_t>(random());
    update.groups = RandomGroups(random);
    update.scalars = RandomScalars(random);

    const std::string bytes = Must(EncodeUpdate(update));
    const Update decoded = Must(DecodeUpdate(bytes));
    EXPECT_EQ(decoded.kind, update.kind);
    EXPECT_EQ(decoded.round, update.round);
    EXPECT_EQ(decoded.client, update.client);
    EXPECT_EQ(decoded.num_examples, update.num_examples);
    EXPECT_EQ(decoded.local_steps, update.local_steps);
    ExpectSameGroups(decoded.groups, update.groups);
    ExpectSameScalars(decoded.scalars, update.scalars);
    EXPECT_EQ(Must(EncodeUpdate(decoded)), bytes);
  }
}

TEST(EncodeUpdateTest, CanBeReadAsASafetensorsFile) {
  const SafetensorsFile file =
      Must(ParseSafetensors(Must(EncodeUpdate(SampleUpdate()))));
  EXPECT_EQ(file.metadata.at("fedlb.format"), "1");
  EXPECT_EQ(file.metadata.at("fedlb.kind"), "delta");
  EXPECT_EQ(file.metadata.at("fedlb.client"), "3");
  EXPECT_EQ(file.metadata.at("fedlb.num_examples"), "640");
  EXPECT_EQ(file.metadata.at("fedlb.scalar.train_loss"), "0.25");
  EXPECT_EQ(file.metadata.at("fedlb.group.parameters"), "1");
  EXPECT_EQ(file.metadata.count("fedlb.xxh3"), 1u);
  ASSERT_NE(file.Find("parameters/0"), nullptr);
}

TEST(EncodeTaskTest, RefusesTensorsThatAreNotThere) {
  RoundTask task = SampleTask();
  task.weights.emplace_back();
  EXPECT_TRUE(absl::IsInvalidArgument(EncodeTask(task).status()));
}

TEST(DecodeTaskTest, OwnsItsTensors) {
  std::string bytes = Must(EncodeTask(SampleTask()));
  const RoundTask task = Must(DecodeTask(bytes));
  bytes.assign(bytes.size(), 'x');
  ExpectSameList(task.weights, SampleTask().weights);
}

// Changes the file of a valid update and says what the decoder finds.
template <typename Change>
std::string DecodeErrorAfter(const Change& change) {
  SafetensorsFile file =
      Must(ParseSafetensors(Must(EncodeUpdate(SampleUpdate()))));
  change(file);
  const std::string bytes = Must(SerializeSafetensors(file));
  const absl::Status status = DecodeUpdate(bytes).status();
  EXPECT_TRUE(status.ok() || absl::IsDataLoss(status)) << status;
  return std::string(status.message());
}

TEST(DecodeUpdateTest, NamesTheMetadataThatIsWrong) {
  for (const char* key :
       {"fedlb.format", "fedlb.kind", "fedlb.round", "fedlb.client",
        "fedlb.num_examples", "fedlb.local_steps"}) {
    EXPECT_THAT(
        DecodeErrorAfter([&](SafetensorsFile& f) { f.metadata.erase(key); }),
        HasSubstr(absl::StrCat("lacks ", key)));
    for (const char* value : {"", "x", "1x", " 1", "9223372036854775808"}) {
      EXPECT_THAT(DecodeErrorAfter(
                      [&](SafetensorsFile& f) { f.metadata[key] = value; }),
                  HasSubstr(key))
          << value;
    }
  }
  EXPECT_THAT(DecodeErrorAfter([](SafetensorsFile& f) {
                f.metadata["fedlb.scalar.train_loss"] = "1e999";
              }),
              HasSubstr("fedlb.scalar.train_loss"));
}

TEST(DecodeUpdateTest, ChecksGroupsAgainstTensors) {
  const auto error_of_group = [](const char* name, const char* size) {
    return DecodeErrorAfter([=](SafetensorsFile& f) {
      f.metadata[absl::StrCat("fedlb.group.", name)] = size;
    });
  };
  EXPECT_THAT(error_of_group("parameters", "0"), HasSubstr("declare 0"));
  EXPECT_THAT(error_of_group("parameters", "2"), HasSubstr("more tensors"));
  EXPECT_THAT(error_of_group("parameters", "18446744073709551615"),
              HasSubstr("more tensors"));
  EXPECT_THAT(error_of_group("parameters", "-1"), HasSubstr("not a number"));
  EXPECT_THAT(error_of_group("other", "1"), HasSubstr("more tensors"));
  EXPECT_EQ(error_of_group("other", "0"), "");

  const auto error_of_name = [](const char* name) {
    return DecodeErrorAfter(
        [=](SafetensorsFile& f) { f.tensors[0].first = name; });
  };
  EXPECT_THAT(error_of_name("parameters"), HasSubstr("<group>/<index>"));
  EXPECT_THAT(error_of_name("other/0"), HasSubstr("not declared"));
  for (const char* name :
       {"parameters/1", "parameters/00", "parameters/", "parameters/x",
        "parameters/-0", "parameters/18446744073709551616"}) {
    EXPECT_THAT(error_of_name(name), HasSubstr(name));
  }
}

TEST(DecodeTaskTest, TakesNoUpdateForATask) {
  EXPECT_TRUE(absl::IsDataLoss(
      DecodeTask(Must(EncodeUpdate(SampleUpdate()))).status()));
  EXPECT_TRUE(
      absl::IsDataLoss(DecodeUpdate(Must(EncodeTask(SampleTask()))).status()));
}

TEST(DecodeUpdateTest, NoticesEveryDamage) {
  const std::string whole = Must(EncodeUpdate(SampleUpdate()));
  for (size_t size = 0; size < whole.size(); ++size) {
    ASSERT_TRUE(absl::IsDataLoss(DecodeUpdate(whole.substr(0, size)).status()))
        << size;
  }
  for (size_t bit = 0; bit < 8 * whole.size(); ++bit) {
    std::string damaged = whole;
    damaged[bit / 8] ^= static_cast<char>(1 << bit % 8);
    ASSERT_TRUE(absl::IsDataLoss(DecodeUpdate(damaged).status())) << bit;
  }
}

}  // namespace
}  // namespace fedlb
