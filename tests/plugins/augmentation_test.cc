// Augmentations, seen through a dataset of pixels whose values say where they
// come from.

#include "data/augmentation.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "data/array_dataset.h"
#include "data/cifar.h"
#include "fedlb/random.h"
#include "fedlb/status.h"
#include "plugins/make_component.h"

namespace fedlb::data {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr int64_t kChannels = 2;
constexpr int64_t kSide = 8;
constexpr int64_t kImages = 500;
constexpr RandomKey kEpoch = {.seed = 3, .purpose = "shuffle", .client = 2};

// Pixel (c, y, x) of image i.
int PixelOf(int64_t i, int64_t c, int64_t y, int64_t x) {
  return static_cast<int>(1 + (i * 7 + c * 100 + y * kSide + x) % 250);
}

class PixelDataset final : public ArrayDataset {
 public:
  explicit PixelDataset(ArrayContents contents)
      : ArrayDataset(std::move(contents), {}) {}
};

// Batches hold the pixels' numbers themselves.
std::unique_ptr<PixelDataset> MakeDataset(const AugmentOptions& options,
                                          int constant = 0) {
  ArrayContents contents;
  contents.example_shape = {kChannels, kSide, kSide};
  contents.num_classes = 1;
  contents.std = {1.0 / 255};
  for (int64_t i = 0; i < kImages; ++i) {
    contents.train.labels.push_back(0);
    for (int64_t c = 0; c < kChannels; ++c) {
      for (int64_t y = 0; y < kSide; ++y) {
        for (int64_t x = 0; x < kSide; ++x) {
          contents.train.bytes.push_back(static_cast<uint8_t>(
              constant != 0 ? constant : PixelOf(i, c, y, x)));
        }
      }
    }
  }
  contents.test = contents.train;
  contents.augmentation =
      Augmentation::Create(options, contents.example_shape, true).value();
  return std::make_unique<PixelDataset>(std::move(contents));
}

using Image = std::vector<int>;

std::vector<Image> Load(const Dataset& dataset,
                        const std::vector<int64_t>& indices,
                        const RandomKey* key) {
  const Batch batch = dataset.Load(Split::kTrain, indices, key).value();
  const float* values = batch.inputs.const_data_ptr<float>();
  std::vector<Image> images(indices.size());
  for (Image& image : images) {
    for (int64_t j = 0; j < kChannels * kSide * kSide; ++j) {
      image.push_back(static_cast<int>(std::lround(*values++)));
    }
  }
  return images;
}

Image LoadOne(const Dataset& dataset, int64_t index,
              const RandomKey* key = &kEpoch) {
  return Load(dataset, {index}, key).front();
}

Image Mirrored(const Image& image) {
  Image result = image;
  for (size_t row = 0; row < image.size(); row += kSide) {
    std::reverse(result.begin() + static_cast<long>(row),
                 result.begin() + static_cast<long>(row + kSide));
  }
  return result;
}

// Image i seen through a window at (dy, dx), black outside.
Image Shifted(int64_t i, int64_t dy, int64_t dx) {
  Image image;
  for (int64_t c = 0; c < kChannels; ++c) {
    for (int64_t y = dy; y < kSide + dy; ++y) {
      for (int64_t x = dx; x < kSide + dx; ++x) {
        const bool inside = y >= 0 && y < kSide && x >= 0 && x < kSide;
        image.push_back(inside ? PixelOf(i, c, y, x) : 0);
      }
    }
  }
  return image;
}

TEST(AugmentationTest, WithoutAKeyThereIsNone) {
  const auto dataset =
      MakeDataset({.augment = {"pad_crop", "flip", "random_resized_crop"}});
  for (int64_t i = 0; i < kImages; ++i) {
    EXPECT_EQ(LoadOne(*dataset, i, nullptr), Shifted(i, 0, 0));
  }
}

TEST(AugmentationTest, FlipReflectsHalfOfTheImages) {
  const auto dataset = MakeDataset({.augment = {"flip"}});
  int64_t flipped = 0;
  for (int64_t i = 0; i < kImages; ++i) {
    const Image image = LoadOne(*dataset, i);
    if (image != Shifted(i, 0, 0)) {
      ++flipped;
      EXPECT_EQ(Mirrored(image), Shifted(i, 0, 0));
    }
  }
  // Within four standard deviations of a fair coin.
  EXPECT_NEAR(static_cast<double>(flipped), 250, 4 * std::sqrt(125));
}

TEST(AugmentationTest, PadCropShiftsByUpToPadAndShowsBlackOutside) {
  for (const int64_t pad : {0, 1, 3, 20}) {
    const auto dataset = MakeDataset({.augment = {"pad_crop"}, .pad = pad});
    std::set<std::pair<int64_t, int64_t>> shifts;
    for (int64_t i = 0; i < kImages; ++i) {
      const Image image = LoadOne(*dataset, i);
      bool found = false;
      for (int64_t dy = -pad; dy <= pad && !found; ++dy) {
        for (int64_t dx = -pad; dx <= pad && !found; ++dx) {
          found = image == Shifted(i, dy, dx);
          if (found) {
            shifts.emplace(dy, dx);
          }
        }
      }
      EXPECT_TRUE(found) << "image " << i << ", pad " << pad;
    }
    if (pad <= 3) {
      // 500 draws of at most 49 shifts miss one in 600 runs.
      EXPECT_EQ(static_cast<int64_t>(shifts.size()),
                (2 * pad + 1) * (2 * pad + 1));
    }
  }
}

TEST(AugmentationTest, PadCropAndFlipCompose) {
  // Both orders give a shifted or a mirrored and shifted image.
  for (const bool flip_first : {false, true}) {
    AugmentOptions options{.pad = 2};
    options.augment = flip_first ? std::vector<std::string>{"flip", "pad_crop"}
                                 : std::vector<std::string>{"pad_crop", "flip"};
    const auto dataset = MakeDataset(options);
    int both = 0;
    for (int64_t i = 0; i < kImages; ++i) {
      const Image image = LoadOne(*dataset, i);
      const Image unflipped = Mirrored(image);
      int matches = 0;
      for (int64_t dy = -2; dy <= 2; ++dy) {
        for (int64_t dx = -2; dx <= 2; ++dx) {
          matches += image == Shifted(i, dy, dx) ? 1 : 0;
          if (unflipped == Shifted(i, dy, dx)) {
            ++matches;
            both += dx != 0 ? 1 : 0;
          }
        }
      }
      EXPECT_EQ(matches, 1) << "image " << i;
    }
    EXPECT_GT(both, 100);
  }
}

TEST(AugmentationTest, DependsOnTheKeyAndTheExampleAlone) {
  const auto dataset =
      MakeDataset({.augment = {"pad_crop", "flip", "random_resized_crop"}});
  std::vector<int64_t> indices;
  for (int64_t i = 0; i < kImages; ++i) {
    indices.push_back((i * 7) % kImages);
  }
  const std::vector<Image> batch = Load(*dataset, indices, &kEpoch);
  for (size_t i = 0; i < indices.size(); ++i) {
    EXPECT_EQ(batch[i], LoadOne(*dataset, indices[i]));
  }
  for (const RandomKey& other :
       {RandomKey{.seed = 4, .purpose = "shuffle", .client = 2},
        RandomKey{.seed = 3, .purpose = "shuffle", .client = 1},
        RandomKey{.seed = 3, .purpose = "shuffle", .round = 1, .client = 2}}) {
    int same = 0;
    for (int64_t i = 0; i < kImages; ++i) {
      same += LoadOne(*dataset, i, &other) == LoadOne(*dataset, i) ? 1 : 0;
    }
    EXPECT_LT(same, kImages / 20);
  }
}

TEST(AugmentationTest, ResizedCropOfAPlainImageIsPlain) {
  const auto dataset = MakeDataset({.augment = {"random_resized_crop"}}, 77);
  for (int64_t i = 0; i < kImages; ++i) {
    const Image image = LoadOne(*dataset, i);
    EXPECT_EQ(image, Image(image.size(), 77));
  }
}

TEST(AugmentationTest, ResizedCropOfEverythingIsTheImage) {
  const auto dataset = MakeDataset({.augment = {"random_resized_crop"},
                                    .crop_scale = {1, 1},
                                    .crop_ratio = {1, 1}});
  for (int64_t i = 0; i < kImages; ++i) {
    EXPECT_EQ(LoadOne(*dataset, i), Shifted(i, 0, 0));
  }
}

TEST(AugmentationTest, ResizedCropInterpolatesLinearly) {
  // A quarter of the area and a ratio of 1: 4 x 4 of 8 x 8 pixels. Along the
  // ramp y * 8 + x of the image, the enlarged part rises by 1/2 from column to
  // column and 4 from row to row, but for the first and the last of each, where
  // there is nothing to interpolate with.
  const auto dataset = MakeDataset({.augment = {"random_resized_crop"},
                                    .crop_scale = {0.25, 0.25},
                                    .crop_ratio = {1, 1}});
  std::set<int> offsets;
  // The ramps of these images do not wrap around.
  for (int64_t i = 0; i < 25; ++i) {
    const Image image = LoadOne(*dataset, i);
    const int corner = image[0];
    offsets.insert(corner - PixelOf(i, 0, 0, 0));
    const auto expected = [](int64_t position) {
      return std::clamp((static_cast<double>(position) + 0.5) / 2 - 0.5, 0.0,
                        3.0);
    };
    for (int64_t y = 0; y < kSide; ++y) {
      for (int64_t x = 0; x < kSide; ++x) {
        EXPECT_NEAR(image[static_cast<size_t>(y * kSide + x)],
                    corner + 8 * expected(y) + expected(x), 0.5 + 1e-6);
      }
    }
  }
  EXPECT_GT(offsets.size(), 5U);
}

TEST(AugmentationTest, UnsuitableOptionsAreRefused) {
  const auto refusal = [](const std::string& toml) {
    const absl::Status status = TryMake<Cifar10>(toml).status();
    EXPECT_EQ(FailureOf(status), Failure::kConfig);
    return std::string(status.message());
  };
  EXPECT_THAT(refusal("augment = ['flipp']"),
              AllOf(HasSubstr("\"flipp\""), HasSubstr("did you mean flip")));
  EXPECT_THAT(refusal("augment = ['flip', 'flip']"),
              HasSubstr("flip is there twice"));
  EXPECT_THAT(refusal("crop_scale = [0.5]"), HasSubstr("[low, high]"));
  EXPECT_THAT(refusal("crop_ratio = [2.0, 1.0]"), HasSubstr("crop_ratio"));
  EXPECT_EQ(
      FailureOf(
          Augmentation::Create({.augment = {"flip"}}, {16}, true).status()),
      Failure::kConfig);
  EXPECT_EQ(
      FailureOf(Augmentation::Create({.augment = {"flip"}}, {1, 4, 4}, false)
                    .status()),
      Failure::kConfig);
}

}  // namespace
}  // namespace fedlb::data
