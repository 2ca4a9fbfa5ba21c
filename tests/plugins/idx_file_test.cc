#include "data/idx_file.h"

#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "absl/status/status.h"
#include "fedlb/random.h"
#include "fedlb/status.h"
#include "plugins/idx_bytes.h"

namespace {

std::atomic<size_t> largest_allocation{0};

}  // namespace

// Sees every allocation of the parser, also those that touch no memory.
// Inlined, GCC would take malloc and delete for a mismatched pair.
__attribute__((noinline)) void* operator new(size_t size) {
  size_t seen = largest_allocation.load(std::memory_order_relaxed);
  while (size > seen && !largest_allocation.compare_exchange_weak(seen, size)) {
  }
  void* memory = std::malloc(size);
  if (memory == nullptr) {
    throw std::bad_alloc();
  }
  return memory;
}
__attribute__((noinline)) void operator delete(void* memory) noexcept {
  std::free(memory);
}
__attribute__((noinline)) void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}

namespace fedlb::data {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr size_t kMiB = 1 << 20;

// The message of a refusal, which must be one of an input file.
std::string RefusalOf(const Bytes& content) {
  const auto array = ParseIdx(content, "file.idx");
  EXPECT_FALSE(array.ok());
  EXPECT_EQ(FailureOf(array.status()), Failure::kInputFile);
  return std::string(array.status().message());
}

Bytes RandomBytes(size_t size, uint64_t seed) {
  RandomStream stream({.seed = seed, .purpose = "test_bytes"});
  Bytes bytes(size);
  for (uint8_t& byte : bytes) {
    byte = static_cast<uint8_t>(stream.Below(256));
  }
  return bytes;
}

Bytes Joined(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

size_t ElementBytes(IdxType type) {
  switch (type) {
    case IdxType::kUint8:
    case IdxType::kInt8:
      return 1;
    case IdxType::kInt16:
      return 2;
    case IdxType::kInt32:
    case IdxType::kFloat32:
      return 4;
    case IdxType::kFloat64:
      return 8;
  }
  return 0;
}

TEST(IdxFileTest, ReadsEveryTypeInNativeByteOrder) {
  EXPECT_EQ(ParseIdx(IdxBytes(0x08, {1}, {0xfe}), "f")->At<uint8_t>(0), 254);
  EXPECT_EQ(ParseIdx(IdxBytes(0x09, {1}, {0xfe}), "f")->At<int8_t>(0), -2);
  EXPECT_EQ(ParseIdx(IdxBytes(0x0B, {1}, {0xff, 0x03}), "f")->At<int16_t>(0),
            -253);
  EXPECT_EQ(ParseIdx(IdxBytes(0x0C, {1}, {0x01, 0x02, 0x03, 0x04}), "f")
                ->At<int32_t>(0),
            0x01020304);
  EXPECT_EQ(
      ParseIdx(IdxBytes(0x0D, {2}, {0x3f, 0x80, 0, 0, 0xc0, 0x20, 0, 0}), "f")
          ->At<float>(1),
      -2.5F);
  EXPECT_EQ(ParseIdx(IdxBytes(0x0E, {1}, {0x3f, 0xf8, 0, 0, 0, 0, 0, 0}), "f")
                ->At<double>(0),
            1.5);
}

TEST(IdxFileTest, KeepsDimensionsAndRowMajorOrder) {
  const auto array =
      ParseIdx(IdxBytes(0x08, {2, 1, 3}, {1, 2, 3, 4, 5, 6}), "");
  ASSERT_TRUE(array.ok()) << array.status();
  EXPECT_EQ(array->type, IdxType::kUint8);
  EXPECT_THAT(array->dims, ElementsAre(2, 1, 3));
  EXPECT_THAT(array->bytes, ElementsAre(1, 2, 3, 4, 5, 6));
}

TEST(IdxFileTest, PlainGzippedAndSplitIntoMembersAreTheSame) {
  // Larger than a block of the reader, packed and unpacked.
  const Bytes payload = RandomBytes(700'000, 1);
  const Bytes plain = IdxBytes(0x08, {700'000}, payload);
  const Bytes front(plain.begin(), plain.begin() + 333'333);
  const Bytes back(plain.begin() + 333'333, plain.end());
  for (const Bytes& content :
       {plain, Gzip(plain), Joined(Gzip(front), Gzip(back)),
        Joined(Joined(Gzip({}), Gzip(front)), Joined(Gzip(back), Gzip({})))}) {
    const auto array = ParseIdx(content, "file.idx");
    ASSERT_TRUE(array.ok()) << array.status();
    EXPECT_EQ(array->bytes, payload);
  }
}

TEST(IdxFileTest, ReadsFilesByContentNotByName) {
  const std::string path = testing::TempDir() + "/named_plain_but_packed";
  WriteBytes(path, Gzip(IdxBytes(0x08, {3}, {7, 8, 9})));
  const auto array = ReadIdxFile(path);
  ASSERT_TRUE(array.ok()) << array.status();
  EXPECT_THAT(array->bytes, ElementsAre(7, 8, 9));
}

TEST(IdxFileTest, RefusesWhatIsNoRegularFile) {
  const std::string folder = testing::TempDir();
  const std::string missing = folder + "/no_such_file";
  const std::string pipe = folder + "/idx_pipe";
  std::remove(pipe.c_str());
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  for (const std::string& path : {missing, folder, pipe}) {
    const auto array = ReadIdxFile(path);
    ASSERT_FALSE(array.ok()) << path;
    EXPECT_EQ(FailureOf(array.status()), Failure::kInputFile);
    EXPECT_THAT(std::string(array.status().message()), HasSubstr(path));
  }
}

TEST(IdxFileTest, EveryTruncationIsRefused) {
  const Bytes plain = IdxBytes(0x08, {40, 10, 10}, RandomBytes(4000, 2));
  const Bytes packed = Gzip(plain);
  RandomStream stream({.seed = 3, .purpose = "test_truncate"});
  for (const Bytes& content : {plain, packed}) {
    for (size_t i = 0; i < 64 + 1000; ++i) {
      const size_t size = i < 64 ? i : stream.Below(content.size());
      EXPECT_NE(RefusalOf(Bytes(content.begin(),
                                content.begin() + static_cast<long>(size))),
                "")
          << size;
    }
  }
}

TEST(IdxFileTest, MessagesOfTruncationNamePathOffsetAndCause) {
  const Bytes plain = IdxBytes(0x08, {10}, RandomBytes(10, 2));
  EXPECT_THAT(RefusalOf(Bytes(plain.begin(), plain.end() - 3)),
              AllOf(HasSubstr("file.idx"), HasSubstr("at byte 8"),
                    HasSubstr("promises 10 bytes"), HasSubstr("truncated")));
  const Bytes packed = Gzip(Bytes(plain.begin(), plain.end() - 3));
  EXPECT_THAT(RefusalOf(packed),
              AllOf(HasSubstr("unpacked data"), HasSubstr("at byte 15"),
                    HasSubstr("promises 10 bytes")));
  EXPECT_THAT(RefusalOf(Bytes(packed.begin(), packed.end() - 1)),
              HasSubstr("gzip data ends early"));
}

TEST(IdxFileTest, AMutatedFileGivesAnErrorOrConsistentData) {
  const Bytes payload = RandomBytes(120, 4);
  const Bytes plain = IdxBytes(0x08, {30, 2, 2}, payload);
  const Bytes packed = Gzip(plain);
  RandomStream stream({.seed = 5, .purpose = "test_mutate"});
  largest_allocation = 0;
  int num_read = 0;
  for (int i = 0; i < 10'000; ++i) {
    const bool is_packed = i % 2 == 1;
    Bytes content = is_packed ? packed : plain;
    const uint64_t num_changes = 1 + stream.Below(4);
    for (uint64_t j = 0; j < num_changes && !content.empty(); ++j) {
      // Headers matter more than pixels.
      const uint64_t range = stream.Below(2) == 0
                                 ? std::min<uint64_t>(20, content.size())
                                 : content.size();
      const auto at = content.begin() + static_cast<long>(stream.Below(range));
      switch (stream.Below(4)) {
        case 0:
          *at ^= static_cast<uint8_t>(1 << stream.Below(8));
          break;
        case 1:
          *at = static_cast<uint8_t>(stream.Below(256));
          break;
        case 2:
          content.erase(at);
          break;
        default:
          content.insert(at, static_cast<uint8_t>(stream.Below(256)));
          break;
      }
    }
    const auto array = ParseIdx(content, "file.idx");
    if (!array.ok()) {
      EXPECT_EQ(FailureOf(array.status()), Failure::kInputFile);
      continue;
    }
    ++num_read;
    if (is_packed) {
      // The checksum lets through only changes of gzip's own header.
      EXPECT_EQ(array->bytes, payload);
      continue;
    }
    size_t size = ElementBytes(array->type);
    for (const int64_t dim : array->dims) {
      size *= static_cast<size_t>(dim);
    }
    EXPECT_EQ(array->bytes.size(), size);
  }
  EXPECT_GT(num_read, 100);
  EXPECT_LT(largest_allocation, kMiB);
}

TEST(IdxFileTest, RefusesWrongMagic) {
  for (const Bytes& content :
       {IdxBytes(0x0A, {1}, {1}), IdxBytes(0x08, {}, {1}),
        Bytes{0, 1, 8, 1, 0, 0, 0, 1, 1}, Bytes{1, 0, 8, 1, 0, 0, 0, 1, 1},
        Bytes{'P', 'K', 3, 4, 0, 0, 0, 0}}) {
    EXPECT_THAT(RefusalOf(content), HasSubstr("not an IDX file"));
  }
  EXPECT_THAT(RefusalOf({}), HasSubstr("ends within its header"));
}

TEST(IdxFileTest, AbsurdDimensionsTakeNoMemory) {
  largest_allocation = 0;
  EXPECT_THAT(RefusalOf(IdxBytes(0x08, {1U << 31}, {1, 2, 3})),
              HasSubstr("promises 2147483648 bytes"));
  EXPECT_THAT(RefusalOf(IdxBytes(0x08, {~0U, ~0U, ~0U}, {1, 2, 3})),
              HasSubstr("product of the dimensions"));
  EXPECT_THAT(RefusalOf(IdxBytes(0x0E, {1U << 31, 1U << 30}, {1, 2, 3})),
              HasSubstr("product of the dimensions"));
  // A zero must not hide the others.
  EXPECT_THAT(RefusalOf(IdxBytes(0x08, {0, ~0U, ~0U, ~0U}, {})),
              HasSubstr("product of the dimensions"));
  EXPECT_THAT(RefusalOf(Gzip(IdxBytes(0x08, {1U << 31}, {1, 2, 3}))),
              HasSubstr("200 times"));
  EXPECT_LT(largest_allocation, kMiB);
}

TEST(IdxFileTest, ADimensionOfZeroIsAnEmptyArray) {
  const auto array = ParseIdx(IdxBytes(0x08, {0, 28, 28}, {}), "file.idx");
  ASSERT_TRUE(array.ok()) << array.status();
  EXPECT_THAT(array->dims, ElementsAre(0, 28, 28));
  EXPECT_TRUE(array->bytes.empty());
}

TEST(IdxFileTest, RefusesTrailingBytes) {
  const Bytes plain = IdxBytes(0x08, {2}, {1, 2});
  EXPECT_THAT(RefusalOf(Joined(plain, {0})),
              AllOf(HasSubstr("at byte 10"), HasSubstr("bytes follow")));
  EXPECT_THAT(RefusalOf(Gzip(Joined(plain, {0}))), HasSubstr("bytes follow"));
  EXPECT_THAT(RefusalOf(Joined(Gzip(plain), {0, 0})),
              HasSubstr("bytes follow the end of the gzip data"));
  EXPECT_THAT(RefusalOf(Joined(Gzip(plain), Gzip({9}))),
              HasSubstr("bytes follow"));
}

TEST(IdxFileTest, RefusesAWrongChecksum) {
  Bytes packed = Gzip(IdxBytes(0x08, {4}, {1, 2, 3, 4}));
  packed[packed.size() - 8] ^= 1;
  EXPECT_THAT(RefusalOf(packed), HasSubstr("gzip data is corrupt"));
}

TEST(IdxFileTest, RefusesADecompressionBomb) {
  const Bytes zeros(64 * kMiB, 0);
  const Bytes promised =
      Gzip(IdxBytes(0x08, {static_cast<uint32_t>(zeros.size())}, zeros));
  const Bytes unannounced = Gzip(Joined(IdxBytes(0x08, {1}, {1}), zeros));
  ASSERT_LT(promised.size(), zeros.size() / 500);
  largest_allocation = 0;
  EXPECT_THAT(RefusalOf(promised), HasSubstr("decompression bomb"));
  EXPECT_THAT(RefusalOf(unannounced), HasSubstr("bytes follow"));
  EXPECT_LT(largest_allocation, kMiB);
}

TEST(IdxFileTest, EqualLabelsAreNoBomb) {
  const Bytes zeros(60'000, 0);
  const Bytes packed = Gzip(IdxBytes(0x08, {60'000}, zeros));
  ASSERT_LT(packed.size(), zeros.size() / 400);
  const auto array = ParseIdx(packed, "file.idx");
  ASSERT_TRUE(array.ok()) << array.status();
  EXPECT_EQ(array->bytes, zeros);
}

}  // namespace
}  // namespace fedlb::data
