// The dataset `tensors`, and the reader of NPY files.

#include "data/tensors.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "absl/strings/str_cat.h"
#include "core/storage_testing.h"
#include "data/npy_file.h"
#include "fedlb/random.h"
#include "fedlb/safetensors.h"
#include "fedlb/status.h"
#include "fedlb/testing/expect_conforms.h"
#include "plugins/make_component.h"

namespace fedlb::data {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// An NPY file with this dictionary and this data. NumPy pads its header with
// spaces up to a multiple of 64 bytes.
std::string NpyBytes(const std::string& dictionary, const std::string& data,
                     int version = 1) {
  const size_t prefix = version == 1 ? 10 : 12;
  std::string header = dictionary;
  header.append(63 - (prefix + header.size()) % 64, ' ');
  header += '\n';
  std::string bytes("\x93NUMPY", 6);
  bytes += static_cast<char>(version);
  bytes += '\0';
  for (size_t i = 0; i < prefix - 8; ++i) {
    bytes += static_cast<char>(header.size() >> (8 * i) & 255);
  }
  return bytes + header + data;
}

std::string Dictionary(const std::string& type, const std::string& shape) {
  return absl::StrCat("{'descr': '", type,
                      "', 'fortran_order': False, 'shape': ", shape, ", }");
}

template <typename T>
std::string DataOf(const std::vector<T>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()),
                     values.size() * sizeof(T));
}

absl::StatusOr<NpyHeader> Parse(const std::string& bytes) {
  return ParseNpyHeader({reinterpret_cast<const uint8_t*>(bytes.data()),
                         std::min<size_t>(bytes.size(), kMaxNpyHeaderBytes)},
                        static_cast<int64_t>(bytes.size()));
}

std::string RefusalOf(const std::string& bytes) {
  const auto header = Parse(bytes);
  EXPECT_FALSE(header.ok());
  EXPECT_EQ(FailureOf(header.status()), Failure::kInputFile);
  return std::string(header.status().message());
}

TEST(NpyFileTest, ReadsWhatNumPyWrites) {
  // The bytes that numpy.save makes of numpy.array([[1, 2, 3]], "<i2").
  std::string bytes("\x93NUMPY\x01\x00\x76\x00", 10);
  bytes += "{'descr': '<i2', 'fortran_order': False, 'shape': (1, 3), }";
  bytes.append(127 - bytes.size(), ' ');
  bytes += "\n";
  bytes.append("\x01\x00\x02\x00\x03\x00", 6);
  const auto header = Parse(bytes);
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_EQ(header->type, "<i2");
  EXPECT_EQ(header->element_bytes, 2);
  EXPECT_THAT(header->shape, ElementsAre(1, 3));
  EXPECT_EQ(header->data_offset, 128);
  EXPECT_EQ(header->data_bytes, 6);
}

TEST(NpyFileTest, ReadsEveryFormOfTheHeader) {
  for (const int version : {1, 2}) {
    for (const char* dictionary :
         {"{'descr': '|u1', 'fortran_order': False, 'shape': (4,), }",
          "{\"shape\":(4),\"descr\":\"|u1\",\"fortran_order\":False}",
          " { 'fortran_order' : False , 'shape' : ( 4 , ) ,\n'descr':'|u1' "
          "} "}) {
      const auto header = Parse(NpyBytes(dictionary, "abcd", version));
      ASSERT_TRUE(header.ok()) << dictionary << header.status();
      EXPECT_THAT(header->shape, ElementsAre(4));
      EXPECT_EQ(header->data_bytes, 4);
    }
  }
  EXPECT_THAT(Parse(NpyBytes(Dictionary("<f8", "()"), "12345678"))->shape,
              ElementsAre());
  EXPECT_EQ(Parse(NpyBytes(Dictionary("<f4", "(0, 7)"), ""))->data_bytes, 0);
}

TEST(NpyFileTest, SaysWhatIsWrong) {
  const std::string good = NpyBytes(Dictionary("|u1", "(4,)"), "abcd");
  EXPECT_THAT(RefusalOf("PK\x03\x04" + good), HasSubstr("not an NPY file"));
  EXPECT_THAT(RefusalOf(""), HasSubstr("not an NPY file"));
  std::string version = good;
  version[6] = 3;
  EXPECT_THAT(RefusalOf(version),
              AllOf(HasSubstr("at byte 6"), HasSubstr("version 3")));
  std::string length = good;
  length[9] = '\x40';
  EXPECT_THAT(RefusalOf(length),
              AllOf(HasSubstr("at byte 8"), HasSubstr("header claims 16")));
  EXPECT_THAT(RefusalOf(good.substr(0, good.size() - 1)),
              AllOf(HasSubstr("4 bytes of data, and the file has 3"),
                    HasSubstr("truncated")));
  EXPECT_THAT(RefusalOf(good + "e"), HasSubstr("the file has 5"));
  EXPECT_THAT(
      RefusalOf(NpyBytes("{'descr': '|u1', 'fortran_order': True, 'shape': "
                         "(4,)}",
                         "abcd")),
      AllOf(HasSubstr("fortran_order"), HasSubstr("np.ascontiguousarray")));
  EXPECT_THAT(RefusalOf(NpyBytes(Dictionary(">f4", "(1,)"), "abcd")),
              HasSubstr("big-endian"));
  EXPECT_THAT(RefusalOf(NpyBytes(Dictionary("|O", "(1,)"), "abcd")),
              HasSubstr("\"|O\" is not supported"));
  EXPECT_THAT(RefusalOf(NpyBytes("{'descr': [('a', '|u1')], 'fortran_order': "
                                 "False, 'shape': (4,)}",
                                 "abcd")),
              HasSubstr("structured"));
  for (const char* dictionary :
       {"", "{", "{}", "{'descr': '|u1', 'shape': (4,)}",
        "{'descr': '|u1', 'descr': '|u1', 'fortran_order': False}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (4,), 'x': 1}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (-4,)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': 4}",
        "{'descr': '|u1', 'fortran_order': 0, 'shape': (4,)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (4,)} x",
        "{'descr': '|u1, 'fortran_order': False, 'shape': (4,)}",
        "{'descr': '\\x7cu1', 'fortran_order': False, 'shape': (4,)}"}) {
    EXPECT_THAT(RefusalOf(NpyBytes(dictionary, "abcd")), HasSubstr("at byte"))
        << dictionary;
  }
  // Absurd sizes, also behind a zero.
  EXPECT_THAT(
      RefusalOf(NpyBytes(Dictionary("<f8", "(9223372036854775807, 2)"), "")),
      HasSubstr("product"));
  EXPECT_THAT(
      RefusalOf(NpyBytes(Dictionary("<f8", "(0, 4294967296, 4294967296)"), "")),
      HasSubstr("product"));
  EXPECT_THAT(
      RefusalOf(NpyBytes(Dictionary("|u1", "(99999999999999999999,)"), "")),
      HasSubstr("exceeds"));
  EXPECT_THAT(RefusalOf(NpyBytes(
                  Dictionary("|u1", "(1, 1, 1, 1, 1, 1, 1, 1, 4)"), "abcd")),
              HasSubstr("more than 8 dimensions"));
}

TEST(NpyFileTest, TruncationsAndMutationsEndInAnErrorOrAFittingHeader) {
  const std::string good =
      NpyBytes(Dictionary("<i4", "(3, 5)"), std::string(60, 'x'));
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_NE(RefusalOf(good.substr(0, size)), "");
  }
  RandomStream random({.seed = 1, .purpose = "test_mutate"});
  int num_read = 0;
  for (int i = 0; i < 10'000; ++i) {
    std::string content = good;
    for (uint64_t changes = 1 + random.Below(3); changes > 0; --changes) {
      const size_t at = random.Below(90);
      switch (random.Below(4)) {
        case 0:
          content.erase(at, 1);
          break;
        case 1:
          content.insert(at, 1, static_cast<char>(random.Below(256)));
          break;
        case 2:
          content[at] ^= static_cast<char>(1 << random.Below(8));
          break;
        default:
          content[at] = content[random.Below(90)];
          break;
      }
    }
    const auto header = Parse(content);
    if (!header.ok()) {
      EXPECT_EQ(FailureOf(header.status()), Failure::kInputFile);
      continue;
    }
    ++num_read;
    int64_t bytes = header->element_bytes;
    for (const int64_t dim : header->shape) {
      bytes *= dim;
    }
    EXPECT_EQ(bytes, header->data_bytes);
    EXPECT_EQ(header->data_offset + bytes,
              static_cast<int64_t>(content.size()));
  }
  EXPECT_GT(num_read, 100);
  EXPECT_LT(num_read, 9'000);
}

class TensorsTest : public testing::Test {
 protected:
  TensorsTest() {
    Save("train", at::arange(24, at::kByte).reshape({3, 2, 2, 2}),
         at::tensor({1, 0, 4}, at::kInt));
    Save("test", at::full({1, 2, 2, 2}, 255, at::kByte),
         at::tensor({2}, at::kInt));
    Write(folder_ / "x_train", NpyBytes(Dictionary("<f4", "(2, 3)"),
                                        DataOf<float>({1, 2, 3, 4, 5, 6})));
    Write(folder_ / "y_train",
          NpyBytes(Dictionary("<i8", "(2,)"), DataOf<int64_t>({1, 0})));
    Write(folder_ / "x_test",
          NpyBytes(Dictionary("<f4", "(1, 3)"), DataOf<float>({7, 8, 9})));
    Write(folder_ / "y_test", NpyBytes(Dictionary("|u1", "(1,)"), "\x02"));
  }

  void Save(const std::string& name, const at::Tensor& x, const at::Tensor& y) {
    SafetensorsFile file;
    file.tensors = {{"x", x}, {"y", y}};
    Write(folder_ / name, SerializeSafetensors(file).value());
  }
  std::string Paths(const std::vector<std::string>& keys) const {
    std::string toml;
    for (const std::string& key : keys) {
      absl::StrAppend(&toml, key, " = '", folder_ / key, "'\n");
    }
    return toml;
  }
  std::string Safetensors() const { return Paths({"train", "test"}); }
  std::string Npy() const {
    return Paths({"x_train", "y_train", "x_test", "y_test"});
  }
  static std::string Refusal(const std::string& toml,
                             Failure failure = Failure::kInputFile) {
    const absl::Status status = TryMake<Tensors>(toml).status();
    EXPECT_FALSE(status.ok());
    EXPECT_EQ(FailureOf(status), failure) << status;
    return std::string(status.message());
  }
  static std::vector<float> Values(const Dataset& dataset, int64_t index) {
    const Batch batch = dataset.Load(Split::kTrain, {index}, nullptr).value();
    const float* values = batch.inputs.const_data_ptr<float>();
    return {values, values + batch.inputs.numel()};
  }

  const TemporaryFolder folder_;
};

TEST_F(TensorsTest, SafetensorsOfPixelsAreScaledChannelByChannel) {
  const auto dataset =
      Make<Tensors>(Safetensors() + "mean = [0.0, 1.0]\nstd = [1.0, 0.5]");
  EXPECT_THAT(dataset->example_shape(), ElementsAre(2, 2, 2));
  EXPECT_EQ(dataset->num_classes(), 5);
  EXPECT_THAT(dataset->labels(Split::kTrain), ElementsAre(1, 0, 4));
  EXPECT_THAT(dataset->labels(Split::kTest), ElementsAre(2));
  const std::vector<float> values = Values(*dataset, 1);
  for (size_t i = 0; i < 8; ++i) {
    const double pixel = (8.0 + static_cast<double>(i)) / 255;
    EXPECT_FLOAT_EQ(values[i],
                    static_cast<float>(i < 4 ? pixel : (pixel - 1) * 2));
  }
}

TEST_F(TensorsTest, NpyOfFloatsKeepTheirValues) {
  const auto dataset = Make<Tensors>(Npy() + "mean = [1.0]\nstd = [2.0]");
  EXPECT_THAT(dataset->example_shape(), ElementsAre(3));
  EXPECT_EQ(dataset->num_classes(), 3);
  EXPECT_THAT(Values(*dataset, 1), ElementsAre(1.5F, 2, 2.5F));
  EXPECT_THAT(dataset->labels(Split::kTrain), ElementsAre(1, 0));
}

TEST_F(TensorsTest, EveryIntegerTypeIsALabel) {
  for (const at::ScalarType type :
       {at::kByte, at::kChar, at::kShort, at::kInt, at::kLong}) {
    Save("train", at::zeros({3, 2, 2, 2}, at::kByte),
         at::tensor({1, 0, 4}, at::kLong).to(type));
    EXPECT_THAT(Make<Tensors>(Safetensors())->labels(Split::kTrain),
                ElementsAre(1, 0, 4));
  }
  const std::pair<const char*, std::string> kUnsigned[] = {
      {"<u2", DataOf<uint16_t>({1, 0})},
      {"<u4", DataOf<uint32_t>({1, 0})},
      {"<u8", DataOf<uint64_t>({1, 0})}};
  for (const auto& [type, data] : kUnsigned) {
    Write(folder_ / "y_train", NpyBytes(Dictionary(type, "(2,)"), data));
    EXPECT_THAT(Make<Tensors>(Npy())->labels(Split::kTrain), ElementsAre(1, 0));
  }
}

TEST_F(TensorsTest, Conforms) {
  conformance::Deviations deviations;
  for (const char* key : {"train", "test"}) {
    deviations.options.Set(key, ConfigValue(folder_ / key));
  }
  conformance::ExpectConforms<Tensors>(deviations);
  deviations.options.Set(
      "augment", ConfigValue(ConfigValue::Array{
                     ConfigValue("random_resized_crop"), ConfigValue("flip")}));
  conformance::ExpectConforms<Tensors>(deviations);
}

TEST_F(TensorsTest, WantsOneFormatOrTheOther) {
  EXPECT_THAT(Refusal("", Failure::kConfig),
              HasSubstr("either train and test"));
  EXPECT_THAT(Refusal(Paths({"train"}), Failure::kConfig), HasSubstr("either"));
  EXPECT_THAT(Refusal(Safetensors() + Npy(), Failure::kConfig),
              HasSubstr("either"));
  EXPECT_THAT(Refusal(Npy() + "augment = ['flip']", Failure::kConfig),
              HasSubstr("dataset.augment needs images"));
  EXPECT_THAT(
      Refusal(Safetensors() + "mean = [1.0, 2.0, 3.0]", Failure::kConfig),
      HasSubstr("mean has 3 numbers"));
  EXPECT_THAT(Refusal(Npy() + "std = [1.0, 2.0, 3.0]", Failure::kConfig),
              HasSubstr("take 1"));
}

TEST_F(TensorsTest, SaysWhatIsWrongWithAFile) {
  EXPECT_THAT(Refusal("train = '/nowhere/a'\ntest = '/nowhere/b'"),
              HasSubstr("/nowhere/a"));
  SafetensorsFile file;
  file.tensors = {{"images", at::zeros({1, 2}, at::kByte)}};
  Write(folder_ / "train", SerializeSafetensors(file).value());
  EXPECT_THAT(Refusal(Safetensors()),
              AllOf(HasSubstr("no tensor x"), HasSubstr("images")));
  const at::Tensor x = at::zeros({3, 2, 2, 2}, at::kByte);
  const at::Tensor y = at::zeros({3}, at::kLong);
  Save("train", x.to(at::kDouble), y);
  EXPECT_THAT(Refusal(Safetensors()),
              AllOf(HasSubstr("/train: x: "), HasSubstr("Double")));
  Save("train", x.reshape({24}), y);
  EXPECT_THAT(Refusal(Safetensors()), HasSubstr("2 dimensions or more"));
  Save("train", x, y.reshape({3, 1}));
  EXPECT_THAT(Refusal(Safetensors()), HasSubstr("labels have 1 dimension"));
  Save("train", x, y.to(at::kFloat));
  EXPECT_THAT(Refusal(Safetensors()), HasSubstr("store integers"));
  Save("train", x, at::zeros({4}, at::kLong));
  EXPECT_THAT(Refusal(Safetensors()),
              AllOf(HasSubstr("4 labels"), HasSubstr("3 examples")));
  Save("train", x, at::full({3}, -1, at::kLong));
  EXPECT_THAT(Refusal(Safetensors()), HasSubstr("label 0 is -1"));
  Save("train", x,
       at::full({3}, std::numeric_limits<int64_t>::max(), at::kLong));
  EXPECT_THAT(Refusal(Safetensors()), HasSubstr("outside [0, 1000000)"));
  Save("train", x, y);
  EXPECT_THAT(Refusal(Safetensors() + "num_classes = 2"),
              HasSubstr("/test: label 0 is 2"));
  Save("train", at::zeros({0, 2, 2, 2}, at::kByte), at::zeros({0}, at::kLong));
  EXPECT_THAT(Refusal(Safetensors()), HasSubstr("holds no examples"));
  Save("train", at::zeros({3, 2, 2}, at::kByte), y);
  EXPECT_THAT(Refusal(Safetensors()),
              AllOf(HasSubstr("2 x 2 x 2"), HasSubstr("examples of 2 x 2")));
  Save("train", x.to(at::kFloat), y);
  EXPECT_THAT(Refusal(Safetensors()), HasSubstr("float32 examples"));
}

TEST_F(TensorsTest, NpyFilesAreNamedInTheirErrors) {
  Write(folder_ / "y_train",
        NpyBytes(Dictionary("<u8", "(2,)"), DataOf<uint64_t>({1, ~0ULL})));
  EXPECT_THAT(Refusal(Npy()),
              AllOf(HasSubstr("y_train"),
                    HasSubstr("label 1 is 18446744073709551615")));
  Write(folder_ / "x_train", NpyBytes(Dictionary("<f4", "(2, 3)"),
                                      DataOf<float>({1, 2, 3, NAN, 5, 6})));
  EXPECT_THAT(Refusal(Npy()),
              AllOf(HasSubstr("x_train"), HasSubstr("value 3 is nan")));
  Write(folder_ / "x_train", NpyBytes(Dictionary("<f4", "(2, 3)"), "short"));
  EXPECT_THAT(Refusal(Npy()),
              AllOf(HasSubstr("x_train: at byte 128"), HasSubstr("24 bytes")));
}

}  // namespace
}  // namespace fedlb::data
