// The datasets `cifar10` and `cifar100`, on small files of the genuine layout.

#include "data/cifar.h"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "absl/strings/str_cat.h"
#include "core/storage_testing.h"
#include "fedlb/random.h"
#include "fedlb/status.h"
#include "fedlb/testing/expect_conforms.h"
#include "plugins/make_component.h"
#include "plugins/recording_logger.h"

namespace fedlb::data {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr size_t kImageBytes = 3072;

// A record whose image holds `pixel` + channel everywhere.
std::string Record(const std::string& labels, int pixel) {
  std::string record = labels;
  for (int channel = 0; channel < 3; ++channel) {
    record.append(kImageBytes / 3, static_cast<char>(pixel + channel));
  }
  return record;
}

std::string Byte(int value) { return std::string(1, static_cast<char>(value)); }

class CifarTest : public testing::Test {
 protected:
  CifarTest() {
    const std::string ten = folder_ / "cifar-10-batches-bin";
    std::filesystem::create_directories(ten);
    for (int batch = 1; batch <= 5; ++batch) {
      Write(absl::StrCat(ten, "/data_batch_", batch, ".bin"),
            Record(Byte(batch), 10 * batch) +
                Record(Byte(batch + 4), 10 * batch + 5));
    }
    Write(ten + "/test_batch.bin", Record(Byte(9), 200));
    const std::string hundred = folder_ / "cifar-100-binary";
    std::filesystem::create_directories(hundred);
    Write(hundred + "/train.bin",
          Record({4, 30}, 10) + Record({19, 99}, 20) + Record({4, 55}, 30));
    Write(hundred + "/test.bin", Record({19, 99}, 40) + Record({4, 30}, 50));
  }

  std::string Ten(const std::string& name) const {
    return folder_ / ("cifar-10-batches-bin/" + name);
  }
  std::string Hundred(const std::string& name) const {
    return folder_ / ("cifar-100-binary/" + name);
  }
  std::string Root() const {
    return absl::StrCat("root = '", folder_.path(), "'\n");
  }
  template <typename C>
  std::string Refusal(Failure failure = Failure::kInputFile,
                      const std::string& more = "") const {
    const absl::Status status = TryMake<C>(Root() + more).status();
    EXPECT_FALSE(status.ok());
    EXPECT_EQ(FailureOf(status), failure) << status;
    return std::string(status.message());
  }

  const TemporaryFolder folder_;
};

TEST_F(CifarTest, ReadsTheFiveFilesInOrder) {
  const auto dataset = Make<Cifar10>(Root());
  EXPECT_THAT(dataset->example_shape(), ElementsAre(3, 32, 32));
  EXPECT_EQ(dataset->num_classes(), 10);
  EXPECT_THAT(dataset->labels(Split::kTrain),
              ElementsAre(1, 5, 2, 6, 3, 7, 4, 8, 5, 9));
  EXPECT_THAT(dataset->labels(Split::kTest), ElementsAre(9));
  // 11 images, 11 labels of 8 bytes.
  EXPECT_EQ(dataset->memory_bytes(), 11 * 3072 + 11 * 8);
}

TEST_F(CifarTest, NormalisesEachChannelWithItsOwnNumbers) {
  ComponentContext context;
  context.dtype = at::kDouble;
  const auto dataset = Make<Cifar10>(Root(), context);
  // The second image of the second file holds 25, 26 and 27.
  const auto batch = dataset->Load(Split::kTrain, {3}, nullptr);
  ASSERT_TRUE(batch.ok()) << batch.status();
  const double* values = batch->inputs.const_data_ptr<double>();
  const double expected[] = {(25 / 255.0 - 0.4914) / 0.2470,
                             (26 / 255.0 - 0.4822) / 0.2435,
                             (27 / 255.0 - 0.4465) / 0.2616};
  for (size_t i = 0; i < kImageBytes; ++i) {
    ASSERT_DOUBLE_EQ(values[i], expected[i / 1024]) << i;
  }
}

TEST_F(CifarTest, OneNumberStandsForAllChannels) {
  const auto dataset = Make<Cifar10>(Root() + "mean = [0.0]\nstd = [2.0]");
  const auto batch = dataset->Load(Split::kTest, {0}, nullptr);
  ASSERT_TRUE(batch.ok()) << batch.status();
  const float* values = batch->inputs.const_data_ptr<float>();
  EXPECT_FLOAT_EQ(values[0], 200 / 510.0F);
  EXPECT_FLOAT_EQ(values[1024], 201 / 510.0F);
  EXPECT_FLOAT_EQ(values[2048], 202 / 510.0F);
  EXPECT_THAT(Refusal<Cifar10>(Failure::kConfig, "mean = [0.1, 0.2]"),
              AllOf(HasSubstr("mean has 2 numbers"), HasSubstr("or 3")));
}

TEST_F(CifarTest, TheRootMayBeTheFolderItself) {
  const auto dataset = Make<Cifar10>(
      absl::StrCat("root = '", folder_ / "cifar-10-batches-bin", "'"));
  EXPECT_EQ(dataset->size(Split::kTrain), 10);
}

TEST_F(CifarTest, LabelsAreFineOrCoarse) {
  const auto fine = Make<Cifar100>(Root());
  EXPECT_EQ(fine->num_classes(), 100);
  EXPECT_THAT(fine->labels(Split::kTrain), ElementsAre(30, 99, 55));
  EXPECT_THAT(fine->labels(Split::kTest), ElementsAre(99, 30));
  const auto coarse = Make<Cifar100>(Root() + "labels = 'coarse'");
  EXPECT_EQ(coarse->num_classes(), 20);
  EXPECT_THAT(coarse->labels(Split::kTrain), ElementsAre(4, 19, 4));
}

TEST_F(CifarTest, AnIncompleteCopyIsMentioned) {
  RecordingLogger logger;
  ComponentContext context;
  context.logger = &logger;
  Make<Cifar100>(Root(), context);
  ASSERT_EQ(logger.warnings.size(), 2U);
  EXPECT_THAT(
      logger.warnings[0],
      AllOf(HasSubstr("train.bin"), HasSubstr("3 images"), HasSubstr("50000")));
}

TEST_F(CifarTest, BothConform) {
  conformance::Deviations deviations;
  deviations.options.Set("root", ConfigValue(folder_.path()));
  conformance::ExpectConforms<Cifar10>(deviations);
  conformance::ExpectConforms<Cifar100>(deviations);
  deviations.options.Set("augment",
                         ConfigValue(ConfigValue::Array{
                             ConfigValue("pad_crop"), ConfigValue("flip"),
                             ConfigValue("random_resized_crop")}));
  conformance::ExpectConforms<Cifar10>(deviations);
}

TEST_F(CifarTest, SaysWhatIsMissing) {
  EXPECT_THAT(std::string(TryMake<Cifar10>("").status().message()),
              AllOf(HasSubstr("set root"), HasSubstr("cifar-10-batches-bin")));
  std::filesystem::remove(Ten("data_batch_3.bin"));
  EXPECT_THAT(Refusal<Cifar10>(),
              AllOf(HasSubstr("cifar-10-batches-bin: no file data_batch_3.bin"),
                    HasSubstr("unpack")));
  std::filesystem::remove_all(folder_ / "cifar-10-batches-bin");
  EXPECT_THAT(Refusal<Cifar10>(),
              AllOf(HasSubstr(folder_.path()), HasSubstr("dataset.root")));
}

TEST_F(CifarTest, ThePythonVersionIsRefusedWithTheReason) {
  std::filesystem::remove_all(folder_ / "cifar-100-binary");
  std::filesystem::create_directories(folder_ / "cifar-100-python");
  Write(folder_ / "cifar-100-python/train", "\x80\x02}");
  EXPECT_THAT(Refusal<Cifar100>(),
              AllOf(HasSubstr("Python version"), HasSubstr("run code"),
                    HasSubstr("binary version")));
}

TEST_F(CifarTest, TheOtherDatasetIsRecognisedByItsRecords) {
  Write(Ten("data_batch_2.bin"), Record({4, 30}, 10));
  EXPECT_THAT(Refusal<Cifar10>(),
              AllOf(HasSubstr("data_batch_2.bin: at byte 3074"),
                    HasSubstr("set dataset.name to cifar100")));
  Write(Hundred("test.bin"), Record({4}, 10) + Record({5}, 10));
  EXPECT_THAT(Refusal<Cifar100>(), HasSubstr("set dataset.name to cifar10"));
}

TEST_F(CifarTest, LabelsOutOfRangeAreRefusedWithTheirPlace) {
  for (const int label : {10, 255}) {
    Write(Ten("data_batch_4.bin"), Record(Byte(1), 0) + Record(Byte(label), 0));
    EXPECT_THAT(Refusal<Cifar10>(),
                AllOf(HasSubstr("data_batch_4.bin: at byte 3073: "),
                      HasSubstr(absl::StrCat("label ", label)),
                      HasSubstr("fetch it again")));
  }
  Write(Hundred("train.bin"), Record({20, 0}, 0));
  EXPECT_THAT(Refusal<Cifar100>(), HasSubstr("at byte 0: coarse label 20"));
  Write(Hundred("train.bin"), Record({0, 1}, 0) + Record({0, 100}, 0));
  EXPECT_THAT(Refusal<Cifar100>(), HasSubstr("at byte 3075: fine label 100"));
}

TEST_F(CifarTest, AFineClassLiesInOneCoarseClass) {
  Write(Hundred("test.bin"), Record({5, 30}, 0));
  EXPECT_THAT(
      Refusal<Cifar100>(),
      AllOf(HasSubstr("test.bin: at byte 0"),
            HasSubstr("fine label 30 with coarse label 5, and with 4")));
}

TEST_F(CifarTest, EveryOtherLengthIsRefused) {
  const std::string ten = Ten("data_batch_5.bin");
  Write(ten, Record(Byte(1), 0) + Record(Byte(1), 0));
  for (int size = 2 * 3073 - 1; size > 3073; --size) {
    ASSERT_EQ(truncate(ten.c_str(), size), 0);
    ASSERT_THAT(Refusal<Cifar10>(),
                HasSubstr(absl::StrCat("data_batch_5.bin: at byte ", size)));
  }
  const std::string hundred = Hundred("test.bin");
  Write(hundred, Record({4, 30}, 0));
  for (int size = 3073; size >= 0; --size) {
    ASSERT_EQ(truncate(hundred.c_str(), size), 0);
    ASSERT_THAT(Refusal<Cifar100>(),
                HasSubstr(absl::StrCat("test.bin: at byte ", size)));
  }
}

TEST_F(CifarTest, AMutatedFileGivesAnErrorOrLabelsInRange) {
  const std::string path = Hundred("train.bin");
  const std::string genuine = Contents(path);
  const int file = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  ASSERT_GE(file, 0);
  RandomStream random({.seed = 1, .purpose = "test_mutate"});
  int num_read = 0;
  for (int i = 0; i < 10'000; ++i) {
    std::string content = genuine;
    for (uint64_t changes = 1 + random.Below(3); changes > 0; --changes) {
      // Every other one hits a label.
      const size_t at = random.Below(2) == 0
                            ? 3074 * random.Below(3) + random.Below(2)
                            : random.Below(content.size());
      content[at] = static_cast<char>(random.Below(256));
    }
    ASSERT_EQ(pwrite(file, content.data(), content.size(), 0),
              static_cast<ssize_t>(content.size()));
    const auto dataset = TryMake<Cifar100>(Root());
    if (!dataset.ok()) {
      EXPECT_EQ(FailureOf(dataset.status()), Failure::kInputFile);
      continue;
    }
    ++num_read;
    for (size_t j = 0; j < 3; ++j) {
      EXPECT_EQ((*dataset)->labels(Split::kTrain)[j],
                static_cast<unsigned char>(content[3074 * j + 1]));
      EXPECT_LT((*dataset)->labels(Split::kTrain)[j], 100);
    }
  }
  close(file);
  // About a third hits pixels alone.
  EXPECT_GT(num_read, 1'000);
  EXPECT_LT(num_read, 9'000);
}

}  // namespace
}  // namespace fedlb::data
