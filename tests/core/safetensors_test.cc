#include "fedlb/safetensors.h"

#include <cstring>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/storage_testing.h"
#include "core/tensor_testing.h"
#include "fedlb/durable_file.h"
#include "fedlb/status.h"

namespace fedlb {
namespace {

using ::testing::HasSubstr;

std::string Repeat(absl::string_view text, int count) {
  std::string result;
  for (int i = 0; i < count; ++i) {
    result.append(text.data(), text.size());
  }
  return result;
}

// A file with this header and so many bytes of data.
std::string FileOf(absl::string_view header, size_t data_bytes) {
  const uint64_t length = header.size();
  return absl::StrCat(
      absl::string_view(reinterpret_cast<const char*>(&length), 8), header,
      std::string(data_bytes, '\0'));
}

SafetensorsFile SampleFile() {
  SafetensorsFile file;
  file.tensors = {{"w", at::arange(6, at::kFloat).reshape({2, 3})},
                  {"flag", at::full({}, true, at::kBool)},
                  {"none", at::zeros({0, 4}, at::kHalf)},
                  {"n", at::arange(3, at::kLong)}};
  file.metadata = {{"fedlb.kind", "weights"}, {"note", "caf\u00e9 \"\n\\"}};
  return file;
}

std::string MustSerialize(
    const SafetensorsFile& file,
    SafetensorsDigest digest = SafetensorsDigest::kSha256) {
  auto bytes = SerializeSafetensors(file, digest);
  EXPECT_TRUE(bytes.ok()) << bytes.status();
  return bytes.ok() ? *std::move(bytes) : "";
}

void ExpectSameTensors(const SafetensorsFile& a, const SafetensorsFile& b) {
  ASSERT_EQ(a.tensors.size(), b.tensors.size());
  for (size_t i = 0; i < a.tensors.size(); ++i) {
    EXPECT_EQ(a.tensors[i].first, b.tensors[i].first);
    EXPECT_TRUE(SameBits(a.tensors[i].second, b.tensors[i].second))
        << a.tensors[i].first;
  }
}

TEST(SafetensorsTest, ReadsWhatItWrote) {
  const SafetensorsFile file = SampleFile();
  for (const auto digest : {SafetensorsDigest::kNone, SafetensorsDigest::kXxh3,
                            SafetensorsDigest::kSha256}) {
    const std::string bytes = MustSerialize(file, digest);
    const auto read = ParseSafetensors(bytes);
    ASSERT_TRUE(read.ok()) << read.status();
    ExpectSameTensors(*read, file);
    EXPECT_EQ(read->metadata.at("note"), file.metadata.at("note"));
    EXPECT_EQ(read->metadata.size(),
              digest == SafetensorsDigest::kNone ? 2u : 4u);
    EXPECT_EQ(MustSerialize(*read, digest), bytes);
    ASSERT_NE(read->Find("n"), nullptr);
    EXPECT_EQ(read->Find("n")->numel(), 3);
    EXPECT_EQ(read->Find("absent"), nullptr);
  }
}

TEST(SafetensorsTest, WritesTheHeaderOfTheFormat) {
  SafetensorsFile file;
  file.tensors = {{"a", at::zeros({2, 3}, at::kFloat)},
                  {"b", at::zeros({}, at::kByte)}};
  file.metadata = {{"k", "v"}};
  EXPECT_EQ(MustSerialize(file, SafetensorsDigest::kNone),
            FileOf("{\"__metadata__\":{\"k\":\"v\"},"
                   "\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],"
                   "\"data_offsets\":[0,24]},"
                   "\"b\":{\"dtype\":\"U8\",\"shape\":[],"
                   "\"data_offsets\":[24,25]}} ",
                   25));
}

// What others can check: sha256sum of the file without its header.
TEST(SafetensorsTest, Sha256IsThatOfTheDataArea) {
  SafetensorsFile file;
  file.tensors = {{"a", at::full({3}, 'a', at::kByte)},
                  {"b", at::full({2}, 'b', at::kByte)}};
  const auto read = ParseSafetensors(MustSerialize(file));
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->metadata.at("fedlb.sha256"), Sha256Hex("aaabb"));
}

TEST(SafetensorsTest, RoundTripsRandomTensors) {
  std::mt19937_64 random(20260103);
  for (int i = 0; i < 300; ++i) {
    SafetensorsFile file;
    const size_t count = random() % 8;
    for (size_t k = 0; k < count; ++k) {
      file.tensors.emplace_back(absl::StrCat("t.", k, "/", random() % 100),
                                RandomTensor(random));
    }
    file.metadata["seed"] = absl::StrCat(i);
    const auto read = ParseSafetensors(MustSerialize(file));
    ASSERT_TRUE(read.ok()) << read.status();
    ExpectSameTensors(*read, file);
  }
}

TEST(SafetensorsTest, WritesViewsAsTheValuesTheyShow) {
  const at::Tensor base = at::arange(12, at::kFloat).reshape({3, 4});
  SafetensorsFile file;
  file.tensors = {{"transposed", base.t()},
                  {"column", base.select(1, 2)},
                  {"repeated", base.select(0, 1).expand({5, 4})},
                  {"same", base},
                  {"again", base}};
  const auto read = ParseSafetensors(MustSerialize(file));
  ASSERT_TRUE(read.ok()) << read.status();
  ExpectSameTensors(*read, file);
  EXPECT_TRUE(read->Find("transposed")->is_contiguous());
}

TEST(SafetensorsTest, TensorsOwnTheirMemory) {
  SafetensorsFile file = SampleFile();
  std::string bytes = MustSerialize(file);
  const auto read = ParseSafetensors(bytes);
  bytes.assign(bytes.size(), 'x');
  ASSERT_TRUE(read.ok());
  ExpectSameTensors(*read, file);
}

// Made by the safetensors 0.8.0 package:
//   safetensors.torch.save({"a": torch.tensor([[1.5,-2.0],[0.25,3.0]]),
//       "b": torch.tensor([7,-1]), "c": torch.tensor(True),
//       "d": torch.zeros(0,3,dtype=torch.float16),
//       "e": torch.tensor([1.0,-3.5],dtype=torch.bfloat16)},
//       metadata={"format": "pt", "note": 'é"\n'}).hex()
TEST(SafetensorsTest, ReadsWhatPythonWrites) {
  const std::string bytes = absl::HexStringToBytes(
      "48010000000000007b225f5f6d657461646174615f5f223a7b226e6f7465223a22c3a95c"
      "225c6e222c22666f726d6174223a227074227d2c2262223a7b226474797065223a224936"
      "34222c227368617065223a5b325d2c22646174615f6f666673657473223a5b302c31365d"
      "7d2c2261223a7b226474797065223a22463332222c227368617065223a5b322c325d2c22"
      "646174615f6f666673657473223a5b31362c33325d7d2c2265223a7b226474797065223a"
      "2242463136222c227368617065223a5b325d2c22646174615f6f666673657473223a5b33"
      "322c33365d7d2c2264223a7b226474797065223a22463136222c227368617065223a5b30"
      "2c335d2c22646174615f6f666673657473223a5b33362c33365d7d2c2263223a7b226474"
      "797065223a22424f4f4c222c227368617065223a5b5d2c22646174615f6f666673657473"
      "223a5b33362c33375d7d7d200700000000000000ffffffffffffffff0000c03f000000c0"
      "0000803e00004040803f60c001");
  const auto read = ParseSafetensors(bytes);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->metadata.at("note"), "\u00e9\"\n");
  SafetensorsFile expected;
  expected.tensors = {
      {"b", at::tensor({7, -1}, at::kLong)},
      {"a", at::tensor({1.5, -2.0, 0.25, 3.0}, at::kFloat).reshape({2, 2})},
      {"e", at::tensor({1.0, -3.5}).to(at::kBFloat16)},
      {"d", at::zeros({0, 3}, at::kHalf)},
      {"c", at::full({}, true, at::kBool)}};
  ExpectSameTensors(*read, expected);
}

struct Rule {
  const char* name;
  std::string bytes;
  const char* message;
};

// "a" of one float, and what each rule breaks in it.
std::vector<Rule> Rules() {
  const auto entry = [](absl::string_view dtype, absl::string_view shape,
                        absl::string_view offsets) {
    return absl::StrCat("{\"dtype\":", dtype, ",\"shape\":", shape,
                        ",\"data_offsets\":", offsets, "}");
  };
  const std::string good = entry("\"F32\"", "[1]", "[0,4]");
  const auto with_a = [](absl::string_view value) {
    return absl::StrCat("{\"a\":", value, "}");
  };
  const auto huge = [](uint64_t length) {
    return absl::StrCat(
        absl::string_view(reinterpret_cast<const char*>(&length), 8), "{}");
  };
  const auto with_changed_data = [](SafetensorsDigest digest) {
    std::string bytes = MustSerialize(SampleFile(), digest);
    bytes.back() ^= 1;
    return bytes;
  };
  std::string many = "{";
  for (int i = 0; i <= 100'000; ++i) {
    absl::StrAppend(&many, i == 0 ? "" : ",", "\"", i,
                    "\":", entry("\"U8\"", "[0]", "[0,0]"));
  }
  std::string many_metadata = "{\"__metadata__\":{";
  for (int i = 0; i <= 100'000; ++i) {
    absl::StrAppend(&many_metadata, i == 0 ? "" : ",", "\"", i, "\":\"\"");
  }
  return {
      {"Empty", "", "no header length"},
      {"SevenBytes", std::string(7, '\0'), "no header length"},
      {"NoHeader", FileOf("", 0), "not a JSON object"},
      {"HeaderBeyondFile", huge(3), "a header of 3 bytes"},
      {"HeaderLengthOverflows", huge(UINT64_MAX), "a header of"},
      {"HeaderOver16MiB", FileOf(std::string((16 << 20) + 1, ' '), 0),
       "over 16777216"},
      {"FirstByteIsNotABrace", FileOf(" {}", 0), "not a JSON object"},
      {"HeaderIsAnArray", FileOf("[]", 0), "not a JSON object"},
      {"HeaderIsNotJson", FileOf("{\"a\":", 0), "not valid JSON"},
      {"HeaderGoesOn", FileOf("{}{}", 0), "not valid JSON"},
      {"ZeroByteInHeader", FileOf(absl::string_view("{}\0x", 4), 0),
       "not a JSON object"},
      {"NotUtf8", FileOf("{\"\xff\":1}", 0), "UTF-8"},
      {"DeepNesting",
       FileOf("{\"__metadata__\":" + Repeat("{\"a\":", 100'000), 0),
       "an object"},
      {"DeepArrays", FileOf(with_a(Repeat("[", 100'000)), 0), "an array"},
      {"TensorIsANumber", FileOf(with_a("1"), 0), "a number"},
      {"TensorIsNull", FileOf(with_a("null"), 0), "null"},
      {"DuplicateName",
       FileOf(absl::StrCat("{\"a\":", good, ",\"a\":", good, "}"), 4),
       "duplicate key 'a'"},
      {"DuplicateNameEscaped",
       FileOf(absl::StrCat("{\"a\":", good, ",\"\\u0061\":", good, "}"), 4),
       "duplicate key 'a'"},
      {"DuplicateMetadata",
       FileOf(R"({"__metadata__":{},"__metadata__":{}})", 0), "duplicate key"},
      {"DuplicateMetadataKey",
       FileOf(R"({"__metadata__":{"k":"1","k":"2"}})", 0),
       "duplicate metadata key 'k'"},
      {"MetadataIsNotText", FileOf(R"({"__metadata__":{"k":1}})", 0),
       "a number"},
      {"MetadataIsText", FileOf(R"({"__metadata__":"k"})", 0), "a string"},
      {"OverAHundredThousandKeys", FileOf(many_metadata + "}}", 0),
       "metadata keys"},
      {"OverAHundredThousandTensors", FileOf(many + "}", 0), "tensors"},
      {"EmptyName", FileOf(absl::StrCat("{\"\":", good, "}"), 4), "1 to 512"},
      {"NameOf513Bytes",
       FileOf(absl::StrCat("{\"", std::string(513, 'x'), "\":", good, "}"), 4),
       "1 to 512"},
      {"UnknownField", FileOf(with_a("{\"stride\":[1]}"), 0), "unknown key"},
      {"DuplicateField", FileOf(with_a(R"({"dtype":"F32","dtype":"F32"})"), 0),
       "duplicate key 'dtype'"},
      {"MissingField", FileOf(with_a(R"({"dtype":"F32","shape":[1]})"), 4),
       "lacks one of"},
      {"UnknownDtype", FileOf(with_a(entry("\"F8\"", "[1]", "[0,1]")), 1),
       "unknown dtype 'F8'"},
      {"DtypeIsANumber", FileOf(with_a(entry("32", "[1]", "[0,4]")), 4),
       "a number"},
      {"NineDimensions",
       FileOf(with_a(entry("\"U8\"", "[1,1,1,1,1,1,1,1,1]", "[0,1]")), 1),
       "over 8 dimensions"},
      {"NegativeDimension",
       FileOf(with_a(entry("\"F32\"", "[-1]", "[0,4]")), 4), "negative"},
      {"FractionalDimension",
       FileOf(with_a(entry("\"F32\"", "[1.0]", "[0,4]")), 4), "not an integer"},
      {"DimensionOver63Bits",
       FileOf(with_a(entry("\"F32\"", "[9223372036854775808]", "[0,4]")), 4),
       "dimension that overflows"},
      {"DimensionOver64Bits",
       FileOf(with_a(entry("\"F32\"", "[18446744073709551616]", "[0,4]")), 4),
       "not an integer"},
      {"SizeOverflows",
       FileOf(with_a(entry("\"F32\"", "[4294967296,4294967296]", "[0,4]")), 4),
       "size overflows"},
      {"SizeOverflowsToFour",
       FileOf(with_a(entry("\"F32\"", "[4611686018427387905]", "[0,4]")), 4),
       "size overflows"},
      {"StridesOverflow",
       FileOf(with_a(entry("\"F32\"", "[0,4294967296,4294967296]", "[0,0]")),
              0),
       "size overflows"},
      {"OneOffset", FileOf(with_a(entry("\"F32\"", "[1]", "[0]")), 4),
       "must be 2"},
      {"ThreeOffsets", FileOf(with_a(entry("\"F32\"", "[1]", "[0,4,4]")), 4),
       "over 2 data_offsets"},
      {"EndsBeforeItBegins",
       FileOf(with_a(entry("\"F32\"", "[1]", "[4,0]")), 4), "ends before"},
      {"BeyondTheData", FileOf(with_a(entry("\"F32\"", "[2]", "[0,8]")), 4),
       "reaches beyond"},
      {"OffsetOverflows",
       FileOf(with_a(entry("\"F32\"", "[1]",
                           "[18446744073709551612,18446744073709551615]")),
              4),
       "reaches beyond"},
      {"HoleAtTheStart", FileOf(with_a(entry("\"F32\"", "[1]", "[4,8]")), 8),
       "hole"},
      {"HoleBetween",
       FileOf(absl::StrCat("{\"a\":", good,
                           ",\"b\":", entry("\"U8\"", "[1]", "[5,6]"), "}"),
              6),
       "hole"},
      {"Overlap",
       FileOf(absl::StrCat("{\"a\":", good,
                           ",\"b\":", entry("\"F32\"", "[1]", "[2,6]"), "}"),
              6),
       "overlaps"},
      {"TheSameBytesTwice",
       FileOf(absl::StrCat("{\"a\":", good, ",\"b\":", good, "}"), 4),
       "overlaps"},
      {"EmptyTensorWithinAnother",
       FileOf(absl::StrCat("{\"a\":", good,
                           ",\"b\":", entry("\"F32\"", "[0]", "[2,2]"), "}"),
              4),
       "overlaps"},
      {"BytesLeftOver", FileOf(with_a(good), 5), "end at byte 4 of 5"},
      {"ShapeWithoutItsBytes",
       FileOf(with_a(entry("\"F32\"", "[2]", "[0,4]")), 4),
       "a shape of 8 bytes"},
      {"BooleanOfTwo",
       FileOf(with_a(entry("\"BOOL\"", "[1]", "[0,1]")), 0) + "\x02",
       "booleans"},
      {"WrongSha256", with_changed_data(SafetensorsDigest::kSha256),
       "digest fedlb.sha256"},
      {"WrongXxh3", with_changed_data(SafetensorsDigest::kXxh3),
       "digest fedlb.xxh3"},
      {"WrongHeaderDigest",
       FileOf(R"({"__metadata__":{"fedlb.header_xxh3":"0123456789abcdef",)"
              R"("fedlb.xxh3":""}})",
              0),
       "digest fedlb.header_xxh3"},
      {"StrangeHeaderDigest",
       FileOf(R"({"__metadata__":{"fedlb.header_xxh3":"","fedlb.xxh3":""}})",
              0),
       "form"},
      {"HeaderDigestAlone",
       FileOf(R"({"__metadata__":{"fedlb.header_xxh3":""}})", 0), "both"},
      {"DataDigestAlone", FileOf(R"({"__metadata__":{"fedlb.sha256":""}})", 0),
       "both"},
  };
}

class SafetensorsRuleTest : public ::testing::TestWithParam<Rule> {};

TEST_P(SafetensorsRuleTest, IsEnforcedByName) {
  const absl::Status parsed = ParseSafetensors(GetParam().bytes).status();
  EXPECT_TRUE(absl::IsDataLoss(parsed)) << parsed;
  EXPECT_THAT(std::string(parsed.message()), HasSubstr(GetParam().message));
  EXPECT_LT(parsed.message().size(), 400u);

  const TemporaryFolder folder;
  const std::string path = folder / "file.safetensors";
  Write(path, GetParam().bytes);
  const absl::Status read = ReadSafetensors(path).status();
  EXPECT_EQ(FailureOf(read), Failure::kInputFile);
  EXPECT_THAT(std::string(read.message()), HasSubstr(path));
  EXPECT_THAT(std::string(read.message()), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(All, SafetensorsRuleTest, ::testing::ValuesIn(Rules()),
                         [](const auto& info) { return info.param.name; });

TEST(SafetensorsTest, AcceptsWhatTheFormatAllows) {
  for (const std::string& bytes :
       {FileOf("{}", 0), FileOf("{}     ", 0),
        // Metadata last, keys in another order, space, tensors out of order,
        // empty tensors at the borders.
        FileOf(R"({ "b" : {"data_offsets":[4,6],"shape":[2],"dtype":"U8"},)"
               R"("e":{"dtype":"F64","shape":[0],"data_offsets":[4,4]},)"
               R"("a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
               R"("z":{"dtype":"I8","shape":[3,0],"data_offsets":[6,6]},)"
               R"("__metadata__":{"k":"\u0000"}})",
               6)}) {
    const auto read = ParseSafetensors(bytes);
    EXPECT_TRUE(read.ok()) << read.status();
  }
}

TEST(SafetensorsTest, ReadsFilesInBlocks) {
  std::mt19937_64 random(20260104);
  const TemporaryFolder folder;
  const std::string path = folder / "file.safetensors";
  SafetensorsFile file;
  // Around and over the size of a block.
  for (const int64_t size : {(256 << 10) - 1, 256 << 10, (600 << 10) + 3}) {
    file.tensors.emplace_back(absl::StrCat(size),
                              RandomBits({size}, at::kByte, random));
  }
  Write(path, MustSerialize(file));
  const auto read = ReadSafetensors(path);
  ASSERT_TRUE(read.ok()) << read.status();
  ExpectSameTensors(*read, file);
}

TEST(SafetensorsTest, RefusesWhatIsNoFile) {
  const TemporaryFolder folder;
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  for (const std::string& path : {folder / "absent", folder.path(),
                                  folder / "pipe", std::string("/dev/zero")}) {
    const absl::Status status = ReadSafetensors(path).status();
    EXPECT_EQ(FailureOf(status), Failure::kInputFile) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(path));
  }
}

// A sparse file claims terabytes of tensors that are not on the disk: that
// must end as a status, be it for memory or for content.
TEST(SafetensorsTest, DoesNotEndTheProcessForLackOfMemory) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the sanitizer ends the process on such a request";
#endif
  const TemporaryFolder folder;
  const std::string path = folder / "file.safetensors";
  constexpr int64_t kSize = int64_t{1} << 43;
  const std::string header =
      FileOf(absl::StrCat(R"({"a":{"dtype":"U8","shape":[)", kSize,
                          R"(],"data_offsets":[0,)", kSize, "]}}"),
             0);
  Write(path, header);
  if (truncate(path.c_str(), kSize + static_cast<int64_t>(header.size())) !=
      0) {
    GTEST_SKIP() << "this file system has no files of that size";
  }
  EXPECT_EQ(RunInChild([&] {
              const rlimit limit = {rlim_t{1} << 36, rlim_t{1} << 36};
              setrlimit(RLIMIT_AS, &limit);
              EXPECT_FALSE(ReadSafetensors(path).ok());
              return 0;
            }),
            0);
}

TEST(SafetensorsTest, RefusesToWriteWhatItCouldNotRead) {
  const at::Tensor good = at::zeros({2});
  const std::vector<std::pair<std::string, at::Tensor>> cases = {
      {"", good},
      {"__metadata__", good},
      {std::string(513, 'x'), good},
      {"\xff", good},
      {"undefined", at::Tensor()},
      {"complex", at::zeros({2}, at::kComplexFloat)},
      {"sparse", good.to_sparse()},
      {"meta", good.to(at::kMeta)},
      {"nine", at::zeros({1, 1, 1, 1, 1, 1, 1, 1, 1})},
      {"twice", good},
  };
  for (const auto& [name, tensor] : cases) {
    SafetensorsFile file;
    file.tensors = {{"twice", good}, {name, tensor}};
    EXPECT_TRUE(absl::IsInvalidArgument(SerializeSafetensors(file).status()))
        << name;
  }
  SafetensorsFile file;
  file.metadata["k"] = "\xff";
  EXPECT_TRUE(absl::IsInvalidArgument(SerializeSafetensors(file).status()));
  file.metadata["k"] = std::string(17 << 20, 'x');
  EXPECT_TRUE(absl::IsInvalidArgument(SerializeSafetensors(file).status()));
}

TEST(SafetensorsTest, NoticesEveryTruncation) {
  SafetensorsFile file = SampleFile();
  file.tensors.emplace_back("more", at::zeros({1000}, at::kFloat));
  for (const auto digest :
       {SafetensorsDigest::kNone, SafetensorsDigest::kSha256}) {
    const std::string bytes = MustSerialize(file, digest);
    ASSERT_GT(bytes.size(), 4096u);
    for (size_t size = 0; size < bytes.size(); ++size) {
      ASSERT_TRUE(absl::IsDataLoss(
          ParseSafetensors(absl::string_view(bytes).substr(0, size)).status()))
          << size;
    }
  }
}

// Without digests a file that changed may still be one of the format; reading
// it must then give the bytes that are in it, and never crash.
TEST(SafetensorsTest, SurvivesTwentyThousandMutations) {
  const std::string whole =
      MustSerialize(SampleFile(), SafetensorsDigest::kNone);
  const std::string checked = MustSerialize(SampleFile());
  constexpr absl::string_view kPieces[] = {"\"",
                                           "{",
                                           "}",
                                           "[",
                                           "]",
                                           ",",
                                           ":",
                                           "0",
                                           "9",
                                           "-",
                                           "1e9",
                                           "\\u0000",
                                           "9223372036854775807",
                                           "18446744073709551615",
                                           "null",
                                           "F64",
                                           "BOOL"};
  std::mt19937_64 random(20260105);
  int accepted = 0;
  for (int i = 0; i < 20'000; ++i) {
    const bool with_digest = i % 2 == 1;
    std::string bytes = with_digest ? checked : whole;
    const std::string before = bytes;
    const size_t mutations = 1 + random() % 4;
    for (size_t k = 0; k < mutations; ++k) {
      const size_t at = random() % bytes.size();
      const absl::string_view piece = kPieces[random() % std::size(kPieces)];
      switch (random() % 5) {
        case 0:
          bytes[at] ^= static_cast<char>(1 << random() % 8);
          break;
        case 1:
          bytes[at] = static_cast<char>(random());
          break;
        case 2:
          bytes.replace(at, std::min(piece.size(), bytes.size() - at),
                        std::string(piece));
          break;
        case 3:
          bytes.insert(at, std::string(piece));
          break;
        default:
          bytes.erase(at, 1 + random() % 8);
          break;
      }
      if (bytes.empty()) {
        bytes = "x";
      }
    }
    const auto read = ParseSafetensors(bytes);
    if (!read.ok()) {
      ASSERT_TRUE(absl::IsDataLoss(read.status())) << read.status();
      continue;
    }
    // A mutation that takes both digests out leaves a file without any.
    if (with_digest && read->metadata.contains("fedlb.sha256")) {
      ASSERT_EQ(bytes, before) << "case " << i;
    }
    ++accepted;
    std::string data;
    for (const auto& [name, tensor] : read->tensors) {
      data.append(static_cast<const char*>(tensor.const_data_ptr()),
                  tensor.nbytes());
    }
    ASSERT_TRUE(absl::EndsWith(bytes, data)) << "case " << i;
  }
  EXPECT_GT(accepted, 100);
}

}  // namespace
}  // namespace fedlb
