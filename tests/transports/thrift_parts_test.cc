// What the transport is put together from, without connections.

#include <fcntl.h>
#include <zlib.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "core/storage_testing.h"
#include "fedlb/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "thrift/checksum.h"
#include "thrift/credentials.h"
#include "thrift/endpoint.h"
#include "thrift/notice_checksum.h"
#include "thrift/refusal.h"
#include "thrift/upload.h"

namespace fedlb::thrift {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

TEST(EndpointTest, ReadsEveryForm) {
  EXPECT_EQ(ParseEndpoint("server.example:7070")->host, "server.example");
  EXPECT_EQ(ParseEndpoint("server.example:7070")->port, 7070);
  EXPECT_EQ(ParseEndpoint("[::1]:0")->host, "::1");
  EXPECT_EQ(ParseEndpoint("unix:/run/f.sock")->path, "/run/f.sock");
  for (const char* text : {"127.0.0.1:1", "[::1]:65535", "unix:a b"}) {
    EXPECT_EQ(ParseEndpoint(text)->ToString(), text);
  }
}

TEST(EndpointTest, SaysWhatIsWrong) {
  const auto message_for = [](const std::string& text) {
    const auto endpoint = ParseEndpoint(text);
    EXPECT_EQ(FailureOf(endpoint.status()), Failure::kConfig) << text;
    return std::string(endpoint.status().message());
  };
  EXPECT_THAT(message_for("host"), HasSubstr("has no port"));
  EXPECT_THAT(message_for("host:"), HasSubstr("no port from 0 to 65535"));
  EXPECT_THAT(message_for("host:65536"), HasSubstr("no port from 0 to 65535"));
  EXPECT_THAT(message_for("host:-1"), HasSubstr("no port from 0 to 65535"));
  EXPECT_THAT(message_for(":80"), HasSubstr("has no host"));
  EXPECT_THAT(message_for("::1:80"), HasSubstr("without brackets"));
  EXPECT_THAT(message_for("[::1:80"), HasSubstr("does not close"));
  EXPECT_THAT(message_for("unix:"), HasSubstr("names no socket"));
  EXPECT_THAT(message_for("unix:" + std::string(108, 'a')),
              HasSubstr("107 bytes"));
}

TEST(EndpointTest, OnlyLoopbackIsLocal) {
  for (const char* text :
       {"127.0.0.1:1", "127.8.9.1:1", "localhost:1", "[::1]:1", "unix:/a"}) {
    EXPECT_TRUE(ParseEndpoint(text)->is_local()) << text;
  }
  for (const char* text : {"0.0.0.0:1", "[::]:1", "10.0.0.1:1",
                           "127.evil.example:1", "localhost.example:1"}) {
    EXPECT_FALSE(ParseEndpoint(text)->is_local()) << text;
  }
}

TEST(CredentialsTest, TokensForAllOrForSome) {
  const auto tokens = ParseTokens(
      "# of the test\n\n0123456789abcdef\n 7\tfedcba9876543210 \n", "f");
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  EXPECT_THAT(*tokens, ElementsAre(Pair(kEveryClient, "0123456789abcdef"),
                                   Pair(7, "fedcba9876543210")));
  EXPECT_EQ(*TokenOf(*tokens, {3}, "f"), "0123456789abcdef");
  EXPECT_EQ(*TokenOf(*tokens, {7}, "f"), "fedcba9876543210");
  EXPECT_THAT(TokenOf(*tokens, {3, 7}, "f").status().message(),
              HasSubstr("client 7 has another"));
  EXPECT_THAT(TokenOf({{7, "x"}}, {3}, "f").status().message(),
              HasSubstr("no token for client 3"));
}

TEST(CredentialsTest, SaysWhichLineIsWrong) {
  for (const auto& [text, what] :
       {std::pair("0123456789abcdef\n1 2 3\n", "f:2: this is neither"),
        std::pair("x 0123456789abcdef", "f:1: this is neither"),
        std::pair("short", "f:1: a token has at least 16"),
        std::pair("1 0123456789abcdef\n1 0123456789abcdeg", "f:2: a second"),
        std::pair("# nothing\n", "f: no token in it")}) {
    const auto tokens = ParseTokens(text, "f");
    EXPECT_EQ(FailureOf(tokens.status()), Failure::kUsage);
    EXPECT_THAT(tokens.status().message(), HasSubstr(what));
  }
  EXPECT_THAT(ReadTokens("/nowhere/tokens").status().message(),
              HasSubstr("/nowhere/tokens"));
}

TEST(ChecksumTest, AgreesWithItsLibraries) {
  // The published value of CRC-32 for "123456789", and XXH3's for nothing.
  EXPECT_EQ(ChecksumOf(ChecksumKind::kCrc32, "123456789"), 0xCBF43926);
  EXPECT_EQ(static_cast<uint64_t>(ChecksumOf(ChecksumKind::kXxh3, "")),
            0x2D06800538D394C2u);
}

TEST(ChecksumTest, OfAChunkCoversItsPlace) {
  // CRC-32 goes on from that of what came before.
  EXPECT_EQ(ChunkChecksum(ChecksumKind::kCrc32, {7, 1024, 0}, "data"),
            ChecksumOf(ChecksumKind::kCrc32, "7 1024 0data"));
  // python3-xxhash: xxh3_64_intdigest(b"data", zlib.crc32(b"1024 1048576"))
  EXPECT_EQ(static_cast<uint64_t>(
                ChunkChecksum(ChecksumKind::kXxh3, {1024, 1048576}, "data")),
            0x5A0107D540B6CC4Fu);
}

TEST(ChecksumTest, OfANoticeCoversEveryNumber) {
  wire::Notice notice;
  notice.kind = wire::NoticeKind::TASK;
  notice.task = 1024;
  notice.round = 1;
  notice.taskBytes = 10;
  notice.assignments.resize(1);
  notice.assignments[0].client = 3;
  notice.assignments[0].batchSize = 32;
  notice.acknowledgements.resize(1);
  notice.acknowledgements[0].client = 3;
  notice.acknowledgements[0].task = 0;
  notice.firstUndurableTask = 1024;
  EXPECT_EQ(ChecksumOf(ChecksumKind::kCrc32, notice),
            ChecksumOf(ChecksumKind::kCrc32, "2 1024 1 10 3 32 3 0 1024"));
}

class UploadTest : public testing::Test {
 protected:
  const std::string text_ = "the bytes of an update";
  const int64_t size_ = static_cast<int64_t>(text_.size());
  Upload upload_{size_, 7};
};

TEST_F(UploadTest, ArrivesInPieces) {
  EXPECT_EQ(*upload_.Put(0, text_.substr(0, 9)), 9);
  EXPECT_EQ(*upload_.Put(9, text_.substr(9)), size_);
  EXPECT_TRUE(upload_.CheckComplete().ok());
  EXPECT_EQ(upload_.content(), text_);
}

TEST_F(UploadTest, RepeatedAndOverlappingChunksChangeNothing) {
  EXPECT_EQ(*upload_.Put(0, text_.substr(0, 9)), 9);
  EXPECT_EQ(*upload_.Put(0, "XXXXXXXXX"), 9);
  EXPECT_EQ(*upload_.Put(4, text_.substr(4)), size_);
  EXPECT_TRUE(upload_.CheckComplete().ok());
  EXPECT_EQ(upload_.content(), text_);
}

TEST_F(UploadTest, HolesAndExcessAreRefused) {
  EXPECT_EQ(CodeOf(upload_.Put(1, "a").status()), Refused::kOutOfOrder);
  EXPECT_EQ(CodeOf(upload_.Put(-1, "a").status()), Refused::kOutOfOrder);
  EXPECT_EQ(CodeOf(upload_.Put(0, text_ + "!").status()), Refused::kTooLarge);
  EXPECT_EQ(CodeOf(upload_.CheckComplete()), Refused::kOutOfOrder);
}

TEST_F(UploadTest, KnowsWhichItIs) {
  EXPECT_TRUE(upload_.Is(size_, 7));
  EXPECT_FALSE(upload_.Is(size_, 8));
  EXPECT_FALSE(upload_.Is(size_ + 1, 7));
}

TEST(SpilledUploadTest, ComesBackAndLeavesNoFile) {
  const TemporaryFolder folder;
  const std::string bytes(100000, 'x');
  auto spilled = SpilledUpload::Write(folder.path(), bytes);
  ASSERT_TRUE(spilled.ok()) << spilled.status();
  EXPECT_TRUE(NamesIn(folder.path()).empty());
  SpilledUpload moved = *std::move(spilled);
  EXPECT_EQ(*moved.Read(), bytes);
}

TEST(SpilledUploadTest, SaysWhereThereIsNoRoom) {
  const auto spilled = SpilledUpload::Write("/nowhere", "x");
  EXPECT_EQ(FailureOf(spilled.status()), Failure::kStorage);
  EXPECT_THAT(spilled.status().message(), HasSubstr("/nowhere"));
}

TEST(RefusalTest, CarriesItsCode) {
  const absl::Status status = Refusal(Refused::kBusy, "later");
  EXPECT_EQ(CodeOf(status), Refused::kBusy);
  EXPECT_TRUE(IsRetryable(Refused::kBusy));
  EXPECT_FALSE(IsRetryable(Refused::kForbidden));
  EXPECT_EQ(CodeOf(absl::InternalError("x")), std::nullopt);
}

}  // namespace
}  // namespace fedlb::thrift
