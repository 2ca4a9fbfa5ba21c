#include "pair_file.h"

#include <cmath>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ATen/ops/full.h>

#include "core/storage_testing.h"
#include "fedlb/status.h"

namespace fedlb {
namespace {

using teacher::FindPairFiles;
using teacher::PairFileName;
using teacher::ReadPairFile;
using teacher::RecordedPair;
using teacher::WritePairFile;
using ::testing::HasSubstr;

TensorLayout Layout() { return {{"a.weight", {3, 2}}, {"a.bias", {3}}}; }

TensorList Filled(double value) {
  return {at::full({3, 2}, value), at::full({3}, value + 1)};
}

RecordedPair Example() {
  RecordedPair recorded;
  recorded.target = "displacement";
  recorded.context.round = 12;
  recorded.context.step = 12;
  recorded.context.epoch = 1.0 / 3;
  recorded.context.lr = 0.1;
  recorded.context.batch_size = 64;
  recorded.context.critical = true;
  recorded.context.gradient_change = 0.7;
  recorded.pair = {Filled(1), Filled(2), Filled(3), 8};
  recorded.partial_means = {Filled(4), Filled(5)};
  recorded.cohort_batch_size = 512;
  return recorded;
}

class PairFileTest : public ::testing::Test {
 protected:
  PairFileTest() {
    EXPECT_EQ(WritePairFile(path_, Layout(), Example()), absl::OkStatus());
  }
  void ExpectRefused(const std::string& why,
                     const TensorLayout& layout = Layout()) {
    const absl::Status status = ReadPairFile(path_, layout).status();
    EXPECT_EQ(FailureOf(status), Failure::kInputFile) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(path_));
    EXPECT_THAT(std::string(status.message()), HasSubstr(why));
  }

  TemporaryFolder folder_;
  const std::string path_ = folder_ / "pair.safetensors";
};

TEST_F(PairFileTest, GivesBackWhatWasWritten) {
  const auto read = ReadPairFile(path_, Layout());
  ASSERT_TRUE(read.ok()) << read.status();
  const RecordedPair wanted = Example();
  EXPECT_EQ(read->target, "displacement");
  EXPECT_EQ(read->context.round, 12);
  EXPECT_EQ(read->context.epoch, wanted.context.epoch);
  EXPECT_EQ(read->context.lr, 0.1);
  EXPECT_EQ(read->context.batch_size, 64);
  EXPECT_TRUE(read->context.critical);
  EXPECT_EQ(read->context.gradient_change, 0.7);
  EXPECT_EQ(read->pair.small_steps, 8);
  EXPECT_EQ(read->cohort_batch_size, 512);
  EXPECT_EQ(Sha256Hex(read->pair.gradient), Sha256Hex(wanted.pair.gradient));
  EXPECT_EQ(Sha256Hex(read->pair.displacement),
            Sha256Hex(wanted.pair.displacement));
  EXPECT_EQ(Sha256Hex(read->pair.reordered), Sha256Hex(wanted.pair.reordered));
  ASSERT_EQ(read->partial_means.size(), 2);
  EXPECT_EQ(Sha256Hex(read->partial_means[1]),
            Sha256Hex(wanted.partial_means[1]));
}

TEST_F(PairFileTest, WhatMayBeMissingMay) {
  RecordedPair recorded = Example();
  recorded.pair.reordered.clear();
  recorded.partial_means.clear();
  ASSERT_EQ(WritePairFile(path_, Layout(), recorded), absl::OkStatus());
  const auto read = ReadPairFile(path_, Layout());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(read->pair.reordered.empty());
  EXPECT_TRUE(read->partial_means.empty());
}

TEST_F(PairFileTest, PairsOfAnotherModelAreRefused) {
  ExpectRefused("another model", {{"b.weight", {3, 2}}});
  ExpectRefused("lacks parameter a.scale",
                {{"a.weight", {3, 2}}, {"a.scale", {3}}});
  ExpectRefused("gradient", {{"a.weight", {2, 3}}, {"a.bias", {3}}});
}

TEST_F(PairFileTest, ValuesThatAreNotFiniteAreRefused) {
  RecordedPair recorded = Example();
  recorded.pair.displacement[0].fill_(NAN);
  ASSERT_EQ(WritePairFile(path_, Layout(), recorded), absl::OkStatus());
  ExpectRefused("displacement has values that are not finite");
  recorded = Example();
  recorded.context.lr = INFINITY;
  ASSERT_EQ(WritePairFile(path_, Layout(), recorded), absl::OkStatus());
  ExpectRefused("no valid lr");
  recorded.context.lr = 0;
  ASSERT_EQ(WritePairFile(path_, Layout(), recorded), absl::OkStatus());
  ExpectRefused("must be positive");
}

TEST_F(PairFileTest, DamageIsNoticed) {
  const std::string bytes = Contents(path_);
  for (size_t i = 0; i < bytes.size(); i += 7) {
    std::string changed = bytes;
    changed[i] = static_cast<char>(changed[i] ^ 0x10);
    Write(path_, changed);
    EXPECT_FALSE(ReadPairFile(path_, Layout()).ok()) << "byte " << i;
  }
  Write(path_, bytes.substr(0, bytes.size() / 2));
  ExpectRefused("");
  Write(path_, "");
  ExpectRefused("");
}

TEST(PairFolderTest, FilesComeInOrderOfTheirRounds) {
  TemporaryFolder folder;
  for (const int64_t round : {200, 3, 11}) {
    Write(folder / PairFileName(round), "");
  }
  Write(folder / "notes.txt", "");
  const auto paths = FindPairFiles(folder.path());
  ASSERT_TRUE(paths.ok()) << paths.status();
  EXPECT_THAT(*paths, ::testing::ElementsAre(folder / PairFileName(3),
                                             folder / PairFileName(11),
                                             folder / PairFileName(200)));
}

TEST(PairFolderTest, AFolderWithoutPairsIsRefused) {
  TemporaryFolder folder;
  EXPECT_EQ(FailureOf(FindPairFiles(folder.path()).status()),
            Failure::kInputFile);
  EXPECT_EQ(FailureOf(FindPairFiles(folder / "none").status()),
            Failure::kInputFile);
}

}  // namespace
}  // namespace fedlb
