// The datasets of the plugin `data`.

#include <cmath>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "data/idx.h"
#include "data/mnist.h"
#include "data/synthetic.h"
#include "fedlb/memory.h"
#include "fedlb/random.h"
#include "fedlb/status.h"
#include "plugins/idx_bytes.h"
#include "plugins/recording_logger.h"

namespace fedlb::data {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

template <typename T>
std::vector<T> ValuesOf(const at::Tensor& tensor) {
  const T* data = tensor.const_data_ptr<T>();
  return std::vector<T>(data, data + tensor.numel());
}

Bytes BigEndianFloats(const std::vector<float>& values) {
  Bytes bytes;
  for (const float value : values) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof(bits));
    AppendBigEndian(bits, bytes);
  }
  return bytes;
}

// A dataset of 3 training and 1 test images of 2 x 2, spoilt by each test in a
// way of its own.
class IdxTest : public testing::Test {
 protected:
  IdxTest() {
    folder_ =
        std::filesystem::path(testing::TempDir()) /
        ("idx_" +
         std::string(
             testing::UnitTest::GetInstance()->current_test_info()->name()));
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    Write("train_images", IdxBytes(0x08, {3, 2, 2},
                                   {0, 51, 102, 153,  //
                                    204, 255, 0, 0,   //
                                    1, 2, 3, 4}));
    Write("train_labels", IdxBytes(0x08, {3}, {2, 0, 1}));
    Write("test_images", IdxBytes(0x08, {1, 2, 2}, {255, 255, 255, 255}));
    Write("test_labels", IdxBytes(0x08, {1}, {1}));
    options_.train_images = Path("train_images");
    options_.train_labels = Path("train_labels");
    options_.test_images = Path("test_images");
    options_.test_labels = Path("test_labels");
  }

  std::string Path(const std::string& name) const {
    return (folder_ / name).string();
  }
  void Write(const std::string& name, const Bytes& bytes) {
    std::filesystem::create_directories((folder_ / name).parent_path());
    WriteBytes(Path(name), bytes);
  }
  // The four files under MNIST's names in `folder`.
  void WriteRoot(const std::string& folder, const char* ending = "") {
    const std::vector<std::pair<std::string, Bytes>> files = {
        {"train-images-idx3-ubyte", IdxBytes(0x08, {2, 1, 1}, {10, 20})},
        {"train-labels-idx1-ubyte", IdxBytes(0x08, {2}, {0, 9})},
        {"t10k-images-idx3-ubyte", IdxBytes(0x08, {1, 1, 1}, {30})},
        {"t10k-labels-idx1-ubyte", IdxBytes(0x08, {1}, {3})}};
    for (const auto& [name, bytes] : files) {
      Write(folder + "/" + name + ending,
            std::string(ending).empty() ? bytes : Gzip(bytes));
    }
  }

  std::unique_ptr<Idx> Create(const ComponentContext& context = {}) {
    auto dataset = Idx::Create(options_, context);
    EXPECT_TRUE(dataset.ok()) << dataset.status();
    return dataset.ok() ? std::move(*dataset) : nullptr;
  }

  std::string Refusal(Failure failure = Failure::kInputFile) {
    const auto dataset = Idx::Create(options_, {});
    EXPECT_FALSE(dataset.ok());
    EXPECT_EQ(FailureOf(dataset.status()), failure);
    return std::string(dataset.status().message());
  }

  std::filesystem::path folder_;
  IdxOptions options_;
};

TEST_F(IdxTest, DescribesItself) {
  const auto dataset = Create();
  EXPECT_THAT(dataset->example_shape(), ElementsAre(1, 2, 2));
  EXPECT_EQ(dataset->num_classes(), 3);
  EXPECT_THAT(dataset->labels(Split::kTrain), ElementsAre(2, 0, 1));
  EXPECT_THAT(dataset->labels(Split::kTest), ElementsAre(1));
  // 16 pixels and 4 labels of 8 bytes.
  EXPECT_EQ(dataset->memory_bytes(), 16 + 32);
}

TEST_F(IdxTest, BatchesFollowTheIndicesAndScaleToTheUnitInterval) {
  const auto batch = Create()->Load(Split::kTrain, {1, 0, 1}, nullptr);
  ASSERT_TRUE(batch.ok()) << batch.status();
  EXPECT_THAT(batch->inputs.sizes().vec(), ElementsAre(3, 1, 2, 2));
  EXPECT_THAT(ValuesOf<float>(batch->inputs),
              ElementsAre(0.8F, 1, 0, 0, 0, 0.2F, 0.4F, 0.6F, 0.8F, 1, 0, 0));
  EXPECT_THAT(ValuesOf<int64_t>(batch->targets), ElementsAre(0, 2, 0));
}

TEST_F(IdxTest, NormalisesWithMeanAndStd) {
  options_.mean = 0.2;
  options_.std = 0.4;
  ComponentContext context;
  context.dtype = at::kDouble;
  const auto batch = Create(context)->Load(Split::kTrain, {0}, nullptr);
  ASSERT_TRUE(batch.ok()) << batch.status();
  // 0, 0.2, 0.4 and 0.6, less 0.2, over 0.4.
  const std::vector<double> values = ValuesOf<double>(batch->inputs);
  EXPECT_DOUBLE_EQ(values[0], -0.5);
  EXPECT_NEAR(values[1], 0, 1e-16);
  EXPECT_DOUBLE_EQ(values[2], 0.5);
  EXPECT_DOUBLE_EQ(values[3], 1);
}

TEST_F(IdxTest, RefusesIndicesOutOfRange) {
  const auto dataset = Create();
  EXPECT_FALSE(dataset->Load(Split::kTrain, {0, 3}, nullptr).ok());
  EXPECT_FALSE(dataset->Load(Split::kTest, {-1}, nullptr).ok());
  EXPECT_FALSE(dataset->Load(Split::kTest, {}, nullptr).ok());
}

TEST_F(IdxTest, FloatImagesKeepTheirValues) {
  Write("train_images",
        IdxBytes(0x0D, {3, 2}, BigEndianFloats({-1, 2.5, 3, 4, 300, 6})));
  Write("test_images", IdxBytes(0x0D, {1, 2}, BigEndianFloats({7, 8})));
  options_.mean = 1;
  options_.std = 2;
  const auto dataset = Create();
  EXPECT_THAT(dataset->example_shape(), ElementsAre(2));
  const auto batch = dataset->Load(Split::kTrain, {2, 0}, nullptr);
  ASSERT_TRUE(batch.ok()) << batch.status();
  EXPECT_THAT(batch->inputs.sizes().vec(), ElementsAre(2, 2));
  EXPECT_THAT(ValuesOf<float>(batch->inputs),
              ElementsAre(149.5F, 2.5F, -1, 0.75F));
}

TEST_F(IdxTest, FourDimensionsAreChannelsFirst) {
  Write("train_images", IdxBytes(0x08, {3, 3, 1, 2}, Bytes(18, 7)));
  Write("test_images", IdxBytes(0x08, {1, 3, 1, 2}, Bytes(6, 7)));
  EXPECT_THAT(Create()->example_shape(), ElementsAre(3, 1, 2));
}

TEST_F(IdxTest, WiderLabelTypesAreRead) {
  Write("train_labels", IdxBytes(0x0B, {3}, {0, 0, 1, 44, 0, 7}));
  const auto dataset = Create();
  EXPECT_THAT(dataset->labels(Split::kTrain), ElementsAre(0, 300, 7));
  EXPECT_EQ(dataset->num_classes(), 301);
}

TEST_F(IdxTest, FindsTheFilesOfARoot) {
  for (const char* folder :
       {"a/.", "b/raw", "c/FashionMNIST/raw", "d/MNIST/raw"}) {
    for (const char* ending : {"", ".gz"}) {
      std::filesystem::remove_all(folder_);
      WriteRoot(folder, ending);
      options_ = {};
      options_.root = Path(std::string(folder, 1));
      EXPECT_THAT(Create()->labels(Split::kTrain), ElementsAre(0, 9));
    }
  }
}

TEST_F(IdxTest, SaysWhatIsMissingWhere) {
  options_ = {};
  options_.root = Path("nowhere");
  EXPECT_THAT(Refusal(),
              AllOf(HasSubstr("train-images-idx3-ubyte"),
                    HasSubstr("nowhere/MNIST/raw"), HasSubstr("dataset.root")));
  WriteRoot("half");
  std::filesystem::remove(Path("half/t10k-labels-idx1-ubyte"));
  options_.root = Path("half");
  EXPECT_THAT(Refusal(), AllOf(HasSubstr("half"),
                               HasSubstr("no file t10k-labels-idx1-ubyte")));
}

TEST_F(IdxTest, WantsARootOrFourFiles) {
  options_.root = "/data";
  EXPECT_THAT(Refusal(Failure::kConfig), HasSubstr("either root"));
  options_ = {};
  EXPECT_THAT(Refusal(Failure::kConfig), HasSubstr("either root"));
  options_.train_images = Path("train_images");
  EXPECT_THAT(Refusal(Failure::kConfig), HasSubstr("either root"));
}

TEST_F(IdxTest, RefusesALabelOutOfRange) {
  options_.num_classes = 2;
  EXPECT_THAT(Refusal(), AllOf(HasSubstr("train_labels"),
                               HasSubstr("label 0 is 2"), HasSubstr("[0, 2)")));
  Write("train_labels", IdxBytes(0x09, {3}, {0, 1, 0xff}));
  options_.num_classes = 0;
  EXPECT_THAT(Refusal(), HasSubstr("label 2 is -1"));
  // Else the model would get two thousand million outputs.
  Write("train_labels",
        IdxBytes(0x0C, {3}, {0, 0, 0, 1, 0x7f, 0, 0, 0, 0, 0, 0, 1}));
  EXPECT_THAT(Refusal(), HasSubstr("label 1 is 2130706432"));
}

TEST_F(IdxTest, RefusesDifferentNumbersOfImagesAndLabels) {
  Write("train_labels", IdxBytes(0x08, {4}, {0, 1, 2, 0}));
  EXPECT_THAT(Refusal(), AllOf(HasSubstr("train_labels"), HasSubstr("4 labels"),
                               HasSubstr("3 examples")));
}

TEST_F(IdxTest, RefusesImagesInPlaceOfLabels) {
  std::swap(options_.train_images, options_.train_labels);
  EXPECT_THAT(Refusal(), HasSubstr("swapped"));
  std::swap(options_.train_images, options_.train_labels);
  options_.test_labels = options_.test_images;
  EXPECT_THAT(Refusal(), HasSubstr("swapped"));
}

TEST_F(IdxTest, RefusesUnsupportedTypesAndValues) {
  Write("train_images", IdxBytes(0x09, {3, 1}, {1, 2, 3}));
  EXPECT_THAT(Refusal(), HasSubstr("int8 are not supported"));
  Write("train_images", IdxBytes(0x0D, {3, 1}, BigEndianFloats({1, NAN, 2})));
  EXPECT_THAT(Refusal(), HasSubstr("value 1 is nan"));
  Write("train_images", IdxBytes(0x08, {3, 2, 2}, Bytes(12, 1)));
  Write("train_labels", IdxBytes(0x0D, {3}, BigEndianFloats({0, 1, 2})));
  EXPECT_THAT(Refusal(), HasSubstr("float32 are not supported"));
}

TEST_F(IdxTest, RefusesEmptyFilesAndSplitsOfDifferentShape) {
  Write("test_images", IdxBytes(0x08, {1, 2, 3}, Bytes(6, 1)));
  EXPECT_THAT(Refusal(), HasSubstr("1 x 2 x 3"));
  Write("test_images", IdxBytes(0x08, {0, 2, 2}, {}));
  EXPECT_THAT(Refusal(), HasSubstr("holds no images"));
}

TEST_F(IdxTest, BatchesAreTaggedAsSuch) {
  InstallCachingAllocator();
  const auto dataset = Create();
  const MemoryStats before = GetMemoryStats();
  const auto batch = dataset->Load(Split::kTrain, {0, 1}, nullptr);
  ASSERT_TRUE(batch.ok()) << batch.status();
  const auto tag = static_cast<size_t>(MemoryTag::kBatch);
  const MemoryStats after = GetMemoryStats();
  // 8 floats and 2 labels, at least.
  EXPECT_GE(after.current[tag], before.current[tag] + 32 + 16);
  EXPECT_EQ(after.current[0], before.current[0]);
}

TEST_F(IdxTest, MnistAndFashionMnistTellEachOtherApart) {
  const Bytes fashion = {9, 0, 0, 3, 0, 2, 7, 2, 5, 5, 0, 9, 5, 5, 7, 9};
  const Bytes digits = {5, 0, 4, 1, 9, 2, 1, 3, 1, 4, 3, 5, 3, 6, 1, 7};
  WriteRoot("root");
  Write("root/train-images-idx3-ubyte", IdxBytes(0x08, {16, 1, 1}, Bytes(16)));
  RecordingLogger logger;
  ComponentContext context;
  context.logger = &logger;
  MnistOptions as_mnist;
  as_mnist.root = Path("root");
  FashionMnistOptions as_fashion;
  as_fashion.root = Path("root");

  Write("root/train-labels-idx1-ubyte", IdxBytes(0x08, {16}, fashion));
  ASSERT_TRUE(FashionMnist::Create(as_fashion, context).ok());
  EXPECT_THAT(logger.warnings, ElementsAre());
  ASSERT_TRUE(Mnist::Create(as_mnist, context).ok());
  EXPECT_THAT(logger.warnings,
              ElementsAre(AllOf(HasSubstr("dataset.name is mnist"),
                                HasSubstr("those of fashion_mnist"))));

  logger.warnings.clear();
  Write("root/train-labels-idx1-ubyte", IdxBytes(0x08, {16}, digits));
  ASSERT_TRUE(Mnist::Create(as_mnist, context).ok());
  EXPECT_THAT(logger.warnings, ElementsAre());
  ASSERT_TRUE(FashionMnist::Create(as_fashion, context).ok());
  EXPECT_THAT(logger.warnings, ElementsAre(HasSubstr("are those of mnist")));
}

TEST_F(IdxTest, MnistHasTenClassesWhateverItsLabels) {
  WriteRoot("root");
  MnistOptions options;
  options.root = Path("root");
  const auto dataset = Mnist::Create(options, {});
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ((*dataset)->num_classes(), 10);
  Write("root/t10k-labels-idx1-ubyte", IdxBytes(0x08, {1}, {10}));
  EXPECT_THAT(std::string(Mnist::Create(options, {}).status().message()),
              HasSubstr("label 0 is 10"));
}

TEST(MnistTest, WantsARoot) {
  const auto dataset = Mnist::Create({}, {});
  EXPECT_EQ(FailureOf(dataset.status()), Failure::kConfig);
  EXPECT_THAT(std::string(dataset.status().message()), HasSubstr("set root"));
}

TEST(FashionMnistTest, SaysHowToGetTheData) {
  FashionMnistOptions options;
  options.root = "/no/such/folder";
  const auto dataset = FashionMnist::Create(options, {});
  EXPECT_EQ(FailureOf(dataset.status()), Failure::kInputFile);
  EXPECT_THAT(std::string(dataset.status().message()),
              AllOf(HasSubstr("/no/such/folder/FashionMNIST/raw"),
                    HasSubstr("apt install dataset-fashion-mnist")));
}

TEST(FashionMnistTest, DebiansCopyIsTheDatasetThatWasPublished) {
  const FashionMnistOptions options;
  if (!std::filesystem::exists(options.root)) {
    GTEST_SKIP() << "dataset-fashion-mnist is not installed";
  }
  RecordingLogger logger;
  ComponentContext context;
  context.logger = &logger;
  const auto created = FashionMnist::Create(options, context);
  ASSERT_TRUE(created.ok()) << created.status();
  const Dataset& dataset = **created;
  EXPECT_THAT(logger.warnings, ElementsAre());
  EXPECT_THAT(dataset.example_shape(), ElementsAre(1, 28, 28));
  EXPECT_EQ(dataset.num_classes(), 10);
  for (const auto& [split, per_class] :
       {std::pair{Split::kTrain, 6000}, std::pair{Split::kTest, 1000}}) {
    std::vector<int64_t> counts(10, 0);
    for (const int64_t label : dataset.labels(split)) {
      ++counts[static_cast<size_t>(label)];
    }
    EXPECT_EQ(counts, std::vector<int64_t>(10, per_class));
  }
  // Uint8 in memory: 70,000 images of 784 bytes and labels of 8.
  EXPECT_EQ(dataset.memory_bytes(), 70'000 * (784 + 8));

  // The options' mean and std are those of the training images, so that what is
  // normalised with them has 0 and 1, up to their four digits.
  double sum = 0;
  double sum_of_squares = 0;
  for (int64_t first = 0; first < 60'000; first += 1000) {
    std::vector<int64_t> indices;
    for (int64_t i = first; i < first + 1000; ++i) {
      indices.push_back(i);
    }
    const auto batch = dataset.Load(Split::kTrain, indices, nullptr);
    ASSERT_TRUE(batch.ok()) << batch.status();
    for (const float value : ValuesOf<float>(batch->inputs)) {
      sum += value;
      sum_of_squares += static_cast<double>(value) * value;
    }
  }
  const double count = 60'000.0 * 784;
  EXPECT_NEAR(sum / count, 0, 2e-4);
  EXPECT_NEAR(std::sqrt(sum_of_squares / count), 1, 2e-4);
}

std::unique_ptr<Synthetic> MakeSynthetic(const SyntheticOptions& options,
                                         uint64_t seed = 1) {
  ComponentContext context;
  context.seed = seed;
  auto dataset = Synthetic::Create(options, context);
  EXPECT_TRUE(dataset.ok()) << dataset.status();
  return std::move(*dataset);
}

std::vector<float> AllValues(const Dataset& dataset, Split split,
                             int64_t count) {
  std::vector<int64_t> indices;
  for (int64_t i = 0; i < count; ++i) {
    indices.push_back(i);
  }
  return ValuesOf<float>(dataset.Load(split, indices, nullptr)->inputs);
}

TEST(SyntheticTest, LabelsRepeatInOrder) {
  const auto dataset = MakeSynthetic(
      {.shape = {3}, .classes = 3, .train_size = 7, .test_size = 2});
  EXPECT_THAT(dataset->example_shape(), ElementsAre(3));
  EXPECT_EQ(dataset->num_classes(), 3);
  EXPECT_THAT(dataset->labels(Split::kTrain), ElementsAre(0, 1, 2, 0, 1, 2, 0));
  EXPECT_THAT(dataset->labels(Split::kTest), ElementsAre(0, 1));
}

TEST(SyntheticTest, ALargerDatasetStartsWithTheSmallerOne) {
  SyntheticOptions options{.shape = {5}, .train_size = 20, .test_size = 4};
  const auto small = AllValues(*MakeSynthetic(options), Split::kTrain, 20);
  options.train_size = 50;
  const auto large = MakeSynthetic(options);
  EXPECT_EQ(AllValues(*large, Split::kTrain, 20), small);
  EXPECT_NE(AllValues(*large, Split::kTest, 4), small);
}

TEST(SyntheticTest, ASeedOfItsOwnFixesTheDataForAnySeedOfTheRun) {
  SyntheticOptions options{.shape = {5}, .train_size = 20, .test_size = 4};
  const auto of_run_1 =
      AllValues(*MakeSynthetic(options, 1), Split::kTrain, 20);
  const auto of_run_2 =
      AllValues(*MakeSynthetic(options, 2), Split::kTrain, 20);
  EXPECT_NE(of_run_1, of_run_2);
  options.seed = 1;
  EXPECT_EQ(AllValues(*MakeSynthetic(options, 2), Split::kTrain, 20), of_run_1);
}

TEST(SyntheticTest, WithoutNoiseExamplesAreHalfTheirPrototype) {
  const auto dataset = MakeSynthetic({.shape = {100},
                                      .classes = 200,
                                      .train_size = 400,
                                      .test_size = 200,
                                      .noise = 0});
  const auto train = AllValues(*dataset, Split::kTrain, 400);
  const auto test = AllValues(*dataset, Split::kTest, 200);
  EXPECT_EQ(std::vector<float>(train.begin(), train.begin() + 20'000), test);
  EXPECT_EQ(std::vector<float>(train.begin() + 20'000, train.end()), test);
  // 20,000 normal values times 0.5: a standard error of 0.0035 for the mean and
  // of 0.25 * sqrt(2 / 20,000) = 0.0025 for the variance; five of each.
  double sum = 0;
  double squares = 0;
  for (const float value : test) {
    sum += value;
    squares += static_cast<double>(value) * value;
  }
  EXPECT_NEAR(sum / 20'000, 0, 0.018);
  EXPECT_NEAR(squares / 20'000, 0.25, 0.0125);
}

TEST(SyntheticTest, NoiseIsStandardNormal) {
  SyntheticOptions options{.shape = {783}, .train_size = 1000, .test_size = 1};
  const auto noisy = AllValues(*MakeSynthetic(options), Split::kTrain, 1000);
  options.noise = 0;
  const auto clean = AllValues(*MakeSynthetic(options), Split::kTrain, 1000);
  const auto n = static_cast<double>(noisy.size());
  double sum = 0;
  double squares = 0;
  double fourths = 0;
  double neighbours = 0;
  double previous = 0;
  for (size_t i = 0; i < noisy.size(); ++i) {
    const double z = static_cast<double>(noisy[i]) - clean[i];
    sum += z;
    squares += z * z;
    fourths += z * z * z * z;
    neighbours += z * previous;
    previous = z;
  }
  // The variances of z, z^2, z^4 and z z' are 1, 2, 96 and 1; five standard
  // errors of each mean.
  EXPECT_NEAR(sum / n, 0, 5 / std::sqrt(n));
  EXPECT_NEAR(squares / n, 1, 5 * std::sqrt(2 / n));
  EXPECT_NEAR(fourths / n, 3, 5 * std::sqrt(96 / n));
  EXPECT_NEAR(neighbours / n, 0, 5 / std::sqrt(n));
}

TEST(SyntheticTest, RefusesASizeThatNoMachineHolds) {
  ConfigTable table;
  table.Set("train_size", ConfigValue(int64_t{1} << 62));
  EXPECT_EQ(FailureOf(Synthetic::Schema().Parse(table).status()),
            Failure::kConfig);
}

}  // namespace
}  // namespace fedlb::data
