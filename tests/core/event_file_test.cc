#include "event_file.h"

#include <cmath>
#include <limits>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "event_reader.h"

namespace fedlb {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;
using ::testing::StartsWith;

std::string Counting(int from, int step) {
  std::string bytes;
  for (int i = 0; i < 32; ++i) {
    bytes += static_cast<char>(from + step * i);
  }
  return bytes;
}

// RFC 3720, appendix B.4, whose tables list the least significant byte first;
// and the check value of CRC-32/ISCSI, which is that of "123456789".
TEST(EventFileTest, ChecksumHasThePublishedValues) {
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8a9136aaU);
  EXPECT_EQ(Crc32c(std::string(32, '\xff')), 0x62a8ab43U);
  EXPECT_EQ(Crc32c(Counting(0, 1)), 0x46dd794eU);
  EXPECT_EQ(Crc32c(Counting(31, -1)), 0x113fdb5cU);
  EXPECT_EQ(Crc32c("123456789"), 0xe3069283U);
  EXPECT_EQ(Crc32c(""), 0U);
}

// The first bytes of every event file that TensorFlow writes: the length 24 and
// its masked checksum.
TEST(EventFileTest, BeginsLikeTensorFlowsOwnFiles) {
  const std::string record = FileVersionRecord(1.5);
  const std::string start("\x18\0\0\0\0\0\0\0\xa3\x7f\x4b\x22\x09", 13);
  EXPECT_THAT(record, StartsWith(start));
  EXPECT_THAT(record, SizeIs(8 + 4 + 24 + 4));
  const auto events = EventReader::ReadAll(record);
  ASSERT_THAT(events, SizeIs(1));
  EXPECT_EQ(events[0].file_version, "brain.Event:2");
  EXPECT_EQ(events[0].wall_time, 1.5);
}

TEST(EventFileTest, KeepsScalarsAndLeavesOutWhatIsNotFinite) {
  const double infinity = std::numeric_limits<double>::infinity();
  const auto events = EventReader::ReadAll(
      absl::StrCat(FileVersionRecord(1),
                   ScalarsRecord(2.25, 300,
                                 {{"test_accuracy", 0.5},
                                  {"mapper.gain", -4},
                                  {"nan", std::nan("")},
                                  {"infinite", -infinity}}),
                   ScalarsRecord(3, int64_t{1} << 40, {})));
  ASSERT_THAT(events, SizeIs(3));
  EXPECT_EQ(events[1].wall_time, 2.25);
  EXPECT_EQ(events[1].step, 300);
  EXPECT_THAT(events[1].scalars, ElementsAre(Pair("mapper.gain", -4),
                                             Pair("test_accuracy", 0.5f)));
  EXPECT_EQ(events[2].step, int64_t{1} << 40);
  EXPECT_THAT(events[2].scalars, IsEmpty());
}

TEST(EventFileTest, EveryFlippedBitIsNoticed) {
  const std::string record = ScalarsRecord(2.25, 3, {{"loss", 0.5}});
  for (size_t bit = 0; bit < 8 * record.size(); ++bit) {
    std::string damaged = record;
    damaged[bit / 8] ^= static_cast<char>(1 << bit % 8);
    EXPECT_THROW(EventReader::ReadAll(damaged), std::runtime_error) << bit;
  }
}

}  // namespace
}  // namespace fedlb
