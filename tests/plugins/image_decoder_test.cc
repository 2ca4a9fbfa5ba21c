// Pictures of every kind, sound and damaged, on their way to pixels.

#include "data/image_decoder.h"

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "data/image_resize.h"
#include "fedlb/random.h"
#include "fedlb/status.h"
#include "plugins/golden/resize_golden.h"
#include "plugins/image_bytes.h"

namespace fedlb::data {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

absl::Span<const uint8_t> AsBytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

struct Decoded {
  absl::StatusOr<std::string> warning;
  std::vector<uint8_t> pixels;

  int At(int64_t size, int64_t c, int64_t y, int64_t x) const {
    return pixels[static_cast<size_t>((c * size + y) * size + x)];
  }
};

Decoded Decode(const std::string& content, int64_t size) {
  const ImageDecoder decoder(size);
  Decoded result{
      "", std::vector<uint8_t>(static_cast<size_t>(decoder.image_bytes()))};
  result.warning = decoder.Decode(AsBytes(content), result.pixels.data());
  return result;
}

// All pixels are of one colour, within `tolerance`.
void ExpectPlain(const std::string& content, const std::vector<int>& color,
                 int tolerance) {
  constexpr int64_t kSize = 4;
  const Decoded image = Decode(content, kSize);
  ASSERT_TRUE(image.warning.ok()) << image.warning.status();
  EXPECT_EQ(*image.warning, "");
  for (int64_t c = 0; c < 3; ++c) {
    for (int64_t i = 0; i < kSize * kSize; ++i) {
      ASSERT_NEAR(image.At(kSize, c, 0, i), color[static_cast<size_t>(c)],
                  tolerance);
    }
  }
}

std::string RefusalOf(const std::string& content, int64_t size = 8) {
  const Decoded image = Decode(content, size);
  EXPECT_FALSE(image.warning.ok());
  EXPECT_EQ(FailureOf(image.warning.status()), Failure::kInputFile);
  return std::string(image.warning.status().message());
}

TEST(ResizeToSquareTest, HalvingWeighsFourPixelsByTheirDistance) {
  // A row of 4 in each of 4 rows. The first new pixel lies at 1.0 of the old
  // line and its triangle reaches 2 to either side: weights 3/4, 3/4, 1/4 for
  // the pixels at 0.5, 1.5 and 2.5, over their sum.
  std::vector<uint8_t> rgb;
  for (int y = 0; y < 4; ++y) {
    for (const int level : {70, 140, 210, 0}) {
      rgb.insert(rgb.end(), {static_cast<uint8_t>(level), 7, 255});
    }
  }
  uint8_t out[12];
  ResizeToSquare(rgb, 4, 4, 2, out);
  const int left = 120;   // (70 * 3 + 140 * 3 + 210) / 7
  const int right = 110;  // (0 * 3 + 210 * 3 + 140) / 7
  EXPECT_THAT(out, ElementsAre(left, right, left, right, 7, 7, 7, 7, 255, 255,
                               255, 255));
}

TEST(ResizeToSquareTest, DoublingInterpolates) {
  // New pixels at 0.25, 0.75, 1.25 and 1.75 of two old ones at 0.5 and 1.5.
  const std::vector<uint8_t> rgb = {0, 0, 0, 200, 200, 200,
                                    0, 0, 0, 200, 200, 200};
  uint8_t out[48];
  ResizeToSquare(rgb, 2, 2, 4, out);
  EXPECT_EQ(std::vector<int>(out, out + 4),
            (std::vector<int>{0, 50, 150, 200}));
}

TEST(ResizeToSquareTest, TheMiddleOfTheLongerSideIsKept) {
  for (const bool is_wide : {true, false}) {
    // Ten lines numbered 0 to 9, four the other way, to four: no scaling, and
    // lines 3 to 6 stay.
    std::vector<uint8_t> rgb;
    for (int64_t y = 0; y < (is_wide ? 4 : 10); ++y) {
      for (int64_t x = 0; x < (is_wide ? 10 : 4); ++x) {
        rgb.insert(rgb.end(), 3, static_cast<uint8_t>(is_wide ? x : y));
      }
    }
    uint8_t out[48];
    ResizeToSquare(rgb, is_wide ? 10 : 4, is_wide ? 4 : 10, 4, out);
    for (int64_t y = 0; y < 4; ++y) {
      for (int64_t x = 0; x < 4; ++x) {
        EXPECT_EQ(out[y * 4 + x], 3 + (is_wide ? x : y));
      }
    }
  }
}

TEST(ResizeToSquareTest, AgreesWithPyTorch) {
  for (const ResizeGolden& golden : ResizeGoldens()) {
    std::vector<uint8_t> rgb;
    for (int64_t y = 0; y < golden.height; ++y) {
      for (int64_t x = 0; x < golden.width; ++x) {
        for (int64_t c = 0; c < 3; ++c) {
          rgb.push_back(static_cast<uint8_t>((37 * x + 91 * y + 53 * c) % 256));
        }
      }
    }
    std::vector<uint8_t> out(golden.pixels.size());
    ResizeToSquare(rgb, golden.width, golden.height, golden.size, out.data());
    for (size_t i = 0; i < out.size(); ++i) {
      // Both passes round.
      EXPECT_NEAR(out[i], golden.pixels[i], 1.05)
          << golden.width << " x " << golden.height << ", value " << i;
    }
  }
}

TEST(ResizeToSquareTest, PlainImagesOfAnyShapeStayPlain) {
  RandomStream random({.seed = 1, .purpose = "test_resize"});
  for (int i = 0; i < 500; ++i) {
    const auto width = static_cast<int64_t>(1 + random.Below(90));
    const auto height = static_cast<int64_t>(1 + random.Below(90));
    const auto size = static_cast<int64_t>(1 + random.Below(40));
    const auto level = static_cast<uint8_t>(random.Below(256));
    const std::vector<uint8_t> rgb(static_cast<size_t>(3 * width * height),
                                   level);
    std::vector<uint8_t> out(static_cast<size_t>(3 * size * size));
    ResizeToSquare(rgb, width, height, size, out.data());
    EXPECT_EQ(out, std::vector<uint8_t>(out.size(), level))
        << width << " x " << height << " to " << size;
  }
}

TEST(ImageDecoderTest, ReadsEveryKindOfJpeg) {
  const std::vector<int> color = {200, 100, 50};
  const Picture rgb = PlainPicture(9, 6, {200, 100, 50});
  ExpectPlain(JpegBytes(rgb), color, 2);
  ExpectPlain(JpegBytes(rgb, {.progressive = true}), color, 2);
  ExpectPlain(JpegBytes(rgb, {.full_chroma = false}), color, 2);
  ExpectPlain(JpegBytes(PlainPicture(9, 6, {90})), {90, 90, 90}, 1);
  // No ink is 255 in Adobe's files: red = (light of cyan) * (light of black).
  ExpectPlain(JpegBytes(PlainPicture(9, 6, {255, 128, 51, 204})),
              {204, 102, 41}, 2);
}

TEST(ImageDecoderTest, ReadsEveryKindOfPng) {
  const Picture rgb = PlainPicture(9, 6, {200, 100, 50});
  ExpectPlain(PngBytes(rgb), {200, 100, 50}, 0);
  ExpectPlain(PngBytes(rgb, {.interlaced = true}), {200, 100, 50}, 0);
  ExpectPlain(PngBytes(rgb, {.deep = true}), {200, 100, 50}, 0);
  ExpectPlain(PngBytes(PlainPicture(9, 6, {90})), {90, 90, 90}, 0);
  ExpectPlain(PngBytes(PlainPicture(9, 6, {90}), {.deep = true}), {90, 90, 90},
              0);
  // Alpha is dropped.
  ExpectPlain(PngBytes(PlainPicture(9, 6, {90, 10})), {90, 90, 90}, 0);
  ExpectPlain(PngBytes(PlainPicture(9, 6, {1, 2, 3, 0})), {1, 2, 3}, 0);
  ExpectPlain(
      PngBytes(PlainPicture(9, 6, {1}), {.palette = {9, 8, 7, 60, 70, 80}}),
      {60, 70, 80}, 0);
}

TEST(ImageDecoderTest, PixelsLieWhereTheyBelong) {
  const Picture picture = NoisePicture(7, 7, 1);
  for (const bool interlaced : {false, true}) {
    const Decoded image =
        Decode(PngBytes(picture, {.interlaced = interlaced}), 7);
    for (int64_t y = 0; y < 7; ++y) {
      for (int64_t x = 0; x < 7; ++x) {
        for (int64_t c = 0; c < 3; ++c) {
          ASSERT_EQ(image.At(7, c, y, x),
                    picture.pixels[static_cast<size_t>((y * 7 + x) * 3 + c)]);
        }
      }
    }
  }
}

TEST(ImageDecoderTest, ReducedDecodingShowsTheSamePicture) {
  // At 16 pixels of 300 x 200 the decoder leaves out all but an eighth.
  const Picture ramp = RampPicture(300, 200);
  const Decoded reduced = Decode(JpegBytes(ramp), 16);
  const Decoded exact = Decode(PngBytes(ramp), 16);
  ASSERT_TRUE(reduced.warning.ok());
  ASSERT_TRUE(exact.warning.ok());
  for (size_t i = 0; i < exact.pixels.size(); ++i) {
    EXPECT_NEAR(reduced.pixels[i], exact.pixels[i], 3) << i;
  }
}

TEST(ImageDecoderTest, SaysWhatIsWrong) {
  EXPECT_THAT(RefusalOf(""), HasSubstr("empty"));
  EXPECT_THAT(RefusalOf("GIF89a..."),
              AllOf(HasSubstr("neither JPEG nor PNG"), HasSubstr("47 49 46")));
  EXPECT_THAT(RefusalOf("\xff\xd8\xff"), HasSubstr("as JPEG"));
  EXPECT_THAT(RefusalOf(std::string("\x89PNG\r\n\x1a\n", 8)),
              AllOf(HasSubstr("as PNG"), HasSubstr("ends early")));
}

TEST(ImageDecoderTest, ATruncatedJpegIsDecodedWithAWarning) {
  const std::string whole = JpegBytes(NoisePicture(40, 40, 1));
  const Decoded image = Decode(whole.substr(0, whole.size() / 2), 40);
  ASSERT_TRUE(image.warning.ok()) << image.warning.status();
  EXPECT_THAT(*image.warning, HasSubstr("warning"));
  // Its upper part is there.
  const Decoded complete = Decode(whole, 40);
  EXPECT_EQ(*complete.warning, "");
  EXPECT_TRUE(std::equal(image.pixels.begin(), image.pixels.begin() + 40 * 8,
                         complete.pixels.begin()));
}

TEST(ImageDecoderTest, APngWithoutItsEndIsDecodedWithAWarning) {
  const std::string whole = PngBytes(NoisePicture(9, 9, 1));
  EXPECT_THAT(*Decode(whole.substr(0, whole.size() - 6), 9).warning,
              HasSubstr("ends early"));
  EXPECT_THAT(RefusalOf(whole.substr(0, whole.size() / 2)),
              HasSubstr("ends early"));
}

// Sets the size in the header of a JPEG without changing anything else.
std::string WithJpegSize(std::string jpeg, int width, int height) {
  const size_t frame = std::min(jpeg.find("\xff\xc0"), jpeg.find("\xff\xc2"));
  const int values[] = {height >> 8, height & 255, width >> 8, width & 255};
  for (size_t i = 0; i < 4; ++i) {
    jpeg[frame + 5 + i] = static_cast<char>(values[i]);
  }
  return jpeg;
}

// The peak of resident memory since the last reset, in bytes; 0 where the
// system does not say.
int64_t PeakMemory() {
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line)) {
    absl::string_view rest = line;
    int64_t kilobytes = 0;
    if (absl::ConsumePrefix(&rest, "VmHWM:") &&
        absl::ConsumeSuffix(&rest, " kB") &&
        absl::SimpleAtoi(rest, &kilobytes)) {
      return kilobytes << 10;
    }
  }
  return 0;
}

void ResetPeakOfMemory() { std::ofstream("/proc/self/clear_refs") << "5"; }

TEST(ImageDecoderTest, HugeImagesTakeNoMemory) {
  const std::string small = JpegBytes(PlainPicture(16, 16, {1, 2, 3}));
  const std::string progressive =
      JpegBytes(PlainPicture(16, 16, {1, 2, 3}), {.progressive = true});
  // The header of a PNG has a checksum, so this one is made whole.
  const std::string png = PngBytes(PlainPicture(50'001, 1'000, {0}));
  ResetPeakOfMemory();
  const int64_t before = PeakMemory();
  EXPECT_THAT(RefusalOf(WithJpegSize(small, 65'500, 65'500)),
              AllOf(HasSubstr("65500 x 65500 pixels"), HasSubstr("50000000")));
  // Below the limit, but six bytes a pixel for its coefficients.
  EXPECT_THAT(RefusalOf(WithJpegSize(progressive, 7'000, 7'000)),
              AllOf(HasSubstr("progressive"), HasSubstr("MiB")));
  EXPECT_THAT(RefusalOf(png), HasSubstr("50001 x 1000 pixels"));
  EXPECT_LT(PeakMemory() - before, int64_t{16} << 20);
}

TEST(ImageDecoderTest, TheLargestImagesAreDecodedInBoundedMemory) {
  const std::string png = PngBytes(PlainPicture(50'000, 1'000, {9}));
  const std::string jpeg =
      JpegBytes(PlainPicture(7'000, 7'000, {9}), {.progressive = true});
  ResetPeakOfMemory();
  const int64_t before = PeakMemory();
  for (const std::string* content : {&png, &jpeg}) {
    const Decoded image = Decode(*content, 32);
    ASSERT_TRUE(image.warning.ok()) << image.warning.status();
    EXPECT_EQ(image.pixels, std::vector<uint8_t>(3 * 32 * 32, 9));
  }
  EXPECT_LT(PeakMemory() - before, int64_t{256} << 20);
}

// An encoder cannot be made to write so many scans, so its last one, whose
// content is nothing but refinements, is repeated.
TEST(ImageDecoderTest, ScansAreLimited) {
  const std::string whole =
      JpegBytes(PlainPicture(64, 64, {9}), {.progressive = true});
  const size_t last = whole.rfind("\xff\xda");
  std::string many = whole.substr(0, last);
  for (int i = 0; i < 200; ++i) {
    many += whole.substr(last, whole.size() - 2 - last);
  }
  many += "\xff\xd9";
  EXPECT_THAT(RefusalOf(many), HasSubstr("more than 100 scans"));
}

std::vector<std::string> Seeds() {
  return {JpegBytes(NoisePicture(33, 21, 1), {.quality = 60}),
          JpegBytes(RampPicture(40, 24), {.progressive = true}),
          JpegBytes(RampPicture(17, 30), {.full_chroma = false}),
          JpegBytes(RampPicture(20, 20, 4)),
          PngBytes(NoisePicture(19, 23, 2)),
          PngBytes(RampPicture(21, 18, 4), {.interlaced = true}),
          PngBytes(RampPicture(25, 14, 1), {.deep = true}),
          PngBytes(PlainPicture(16, 16, {1}),
                   {.palette = {0, 0, 0, 255, 255, 255}})};
}

// Counts of (errors, warnings, sound).
struct Counts {
  int errors = 0;
  int warnings = 0;
  int sound = 0;

  void Add(const Decoded& image) {
    if (!image.warning.ok()) {
      EXPECT_EQ(FailureOf(image.warning.status()), Failure::kInputFile);
      ++errors;
    } else {
      ++(image.warning->empty() ? sound : warnings);
    }
  }
};

TEST(ImageDecoderTest, EveryTruncationIsNoticed) {
  RandomStream random({.seed = 1, .purpose = "test_truncate"});
  const std::vector<std::string> seeds = Seeds();
  Counts counts;
  for (int i = 0; i < 2'000; ++i) {
    const std::string& seed = seeds[static_cast<size_t>(i) % seeds.size()];
    counts.Add(Decode(seed.substr(0, random.Below(seed.size())), 12));
  }
  EXPECT_EQ(counts.sound, 0);
  EXPECT_GT(counts.errors, 200);
  EXPECT_GT(counts.warnings, 200);
}

TEST(ImageDecoderTest, MutationsEndInAnErrorOrAnImageInBoundedMemory) {
  RandomStream random({.seed = 2, .purpose = "test_mutate"});
  const std::vector<std::string> seeds = Seeds();
  ResetPeakOfMemory();
  const int64_t before = PeakMemory();
  Counts counts;
  for (int i = 0; i < 10'000; ++i) {
    std::string content = seeds[static_cast<size_t>(i) % seeds.size()];
    for (uint64_t changes = 1 + random.Below(8); changes > 0; --changes) {
      // The front has the headers.
      const size_t range = random.Below(2) == 0
                               ? std::min<size_t>(content.size(), 200)
                               : content.size();
      const size_t at = random.Below(range);
      switch (random.Below(4)) {
        case 0:
          content.erase(at, 1);
          break;
        case 1:
          content.insert(at, 1, static_cast<char>(random.Below(256)));
          break;
        default:
          content[at] = static_cast<char>(random.Below(256));
          break;
      }
    }
    counts.Add(Decode(content, 12));
  }
  EXPECT_GT(counts.errors, 1'000);
  EXPECT_GT(counts.warnings, 500);
  EXPECT_GT(counts.sound, 100);
  EXPECT_LT(PeakMemory() - before, int64_t{256} << 20);
}

}  // namespace
}  // namespace fedlb::data
