#include "data/augmentation.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "fedlb/config_table.h"
#include "fedlb/status.h"

namespace fedlb::data {
namespace {

constexpr char kPadCropName[] = "pad_crop";
constexpr char kFlipName[] = "flip";
constexpr char kRandomResizedCropName[] = "random_resized_crop";

// Weights of the interpolation, squared in the result: with 11 bits it stays
// within 32.
constexpr int kWeightBits = 11;
constexpr int32_t kOne = 1 << kWeightBits;

absl::Status CheckRange(absl::string_view name,
                        const std::vector<double>& range) {
  if (range.size() != 2 || range[0] > range[1]) {
    return absl::InvalidArgumentError(absl::StrCat(
        name, " takes two numbers, the smaller one first: [low, high]"));
  }
  return absl::OkStatus();
}

// Where a pixel of an enlarged line of `out` pixels lies between two of the
// `in` that it is made of, when both lines cover the same length.
struct Interpolation {
  int64_t first;
  int64_t second;
  int32_t weight;  // of the second, of kOne
};

Interpolation InterpolationAt(int64_t position, int64_t in, int64_t out) {
  const double center = (static_cast<double>(position) + 0.5) *
                            static_cast<double>(in) / static_cast<double>(out) -
                        0.5;
  const double clamped =
      std::min(std::max(center, 0.0), static_cast<double>(in - 1));
  const auto first = static_cast<int64_t>(clamped);
  return {first, std::min(first + 1, in - 1),
          static_cast<int32_t>(
              std::lround((clamped - static_cast<double>(first)) * kOne))};
}

}  // namespace

absl::Status CheckAugmentOptions(const AugmentOptions& options) {
  for (size_t i = 0; i < options.augment.size(); ++i) {
    const std::string& name = options.augment[i];
    if (name != kPadCropName && name != kFlipName &&
        name != kRandomResizedCropName) {
      const std::string nearest =
          NearestName(name, {kPadCropName, kFlipName, kRandomResizedCropName});
      return absl::InvalidArgumentError(absl::StrCat(
          "augment: there is no \"", name, "\"",
          nearest.empty() ? "" : absl::StrCat(" (did you mean ", nearest, "?)"),
          "; it is a list of ", kPadCropName, ", ", kFlipName, " and ",
          kRandomResizedCropName));
    }
    if (std::find(options.augment.begin(),
                  options.augment.begin() + static_cast<std::ptrdiff_t>(i),
                  name) !=
        options.augment.begin() + static_cast<std::ptrdiff_t>(i)) {
      return absl::InvalidArgumentError(
          absl::StrCat("augment: ", name, " is there twice"));
    }
  }
  FEDLB_RETURN_IF_ERROR(CheckRange("crop_scale", options.crop_scale));
  return CheckRange("crop_ratio", options.crop_ratio);
}

absl::StatusOr<Augmentation> Augmentation::Create(
    const AugmentOptions& options, const std::vector<int64_t>& example_shape,
    bool is_pixels) {
  Augmentation result;
  if (options.augment.empty()) {
    return result;
  }
  if (!is_pixels || example_shape.size() != 3) {
    return ConfigError(
        "dataset.augment needs images: uint8 examples of [channels, height, "
        "width]; leave augment empty for other data");
  }
  for (const std::string& name : options.augment) {
    result.steps_.push_back(name == kPadCropName ? Step::kPadCrop
                            : name == kFlipName  ? Step::kFlip
                                                 : Step::kRandomResizedCrop);
  }
  result.channels_ = example_shape[0];
  result.height_ = example_shape[1];
  result.width_ = example_shape[2];
  result.pad_ = options.pad;
  result.min_scale_ = options.crop_scale[0];
  result.max_scale_ = options.crop_scale[1];
  result.min_ratio_ = options.crop_ratio[0];
  result.max_ratio_ = options.crop_ratio[1];
  return result;
}

ImageView Augmentation::Apply(const uint8_t* pixels, RandomStream& random,
                              Scratch& scratch) const {
  ImageView view{.pixels = pixels};
  for (const Step step : steps_) {
    switch (step) {
      case Step::kPadCrop: {
        // No step comes twice, so the view has no shift before this one.
        const auto choices = static_cast<uint64_t>(2 * pad_ + 1);
        view.dy = static_cast<int64_t>(random.Below(choices)) - pad_;
        view.dx = static_cast<int64_t>(random.Below(choices)) - pad_;
        break;
      }
      case Step::kFlip:
        if ((random() >> 63) != 0) {
          view.dx = -view.dx;
          view.flipped = !view.flipped;
        }
        break;
      case Step::kRandomResizedCrop: {
        const Part part = DrawPart(random);
        if (view.dy != 0 || view.dx != 0 || view.flipped) {
          // The identity, to have what is seen so far as pixels.
          static constexpr auto kLevels = [] {
            std::array<uint8_t, 256> levels{};
            std::iota(levels.begin(), levels.end(), uint8_t{0});
            return levels;
          }();
          scratch.copy.resize(num_pixels());
          const int64_t plane = height_ * width_;
          for (int64_t c = 0; c < channels_; ++c) {
            LookUpPlane(view, view.pixels + c * plane, height_, width_,
                        kLevels.data(), scratch.copy.data() + c * plane);
          }
          view.pixels = scratch.copy.data();
        }
        Resize(view.pixels, part, scratch);
        view = {.pixels = scratch.resized.data()};
        break;
      }
    }
  }
  return view;
}

// C. Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, section 6: a
// part whose area is uniform over a range of shares and whose logarithm of the
// aspect ratio is uniform. A part that does not fit is drawn again; after ten
// of them the largest in the middle that has an allowed ratio is taken.
Augmentation::Part Augmentation::DrawPart(RandomStream& random) const {
  constexpr int kAttempts = 10;
  const auto height = static_cast<double>(height_);
  const auto width = static_cast<double>(width_);
  const double min_log = std::log(min_ratio_);
  const double max_log = std::log(max_ratio_);
  for (int i = 0; i < kAttempts; ++i) {
    const double area =
        height * width *
        (min_scale_ + (max_scale_ - min_scale_) * random.Uniform());
    const double ratio =
        std::exp(min_log + (max_log - min_log) * random.Uniform());
    Part part;
    part.width = std::llround(std::sqrt(area * ratio));
    part.height = std::llround(std::sqrt(area / ratio));
    if (part.width >= 1 && part.width <= width_ && part.height >= 1 &&
        part.height <= height_) {
      part.top = static_cast<int64_t>(
          random.Below(static_cast<uint64_t>(height_ - part.height + 1)));
      part.left = static_cast<int64_t>(
          random.Below(static_cast<uint64_t>(width_ - part.width + 1)));
      return part;
    }
  }
  Part part{.height = height_, .width = width_};
  const double ratio = width / height;
  if (ratio < min_ratio_) {
    part.height = std::llround(width / min_ratio_);
  } else if (ratio > max_ratio_) {
    part.width = std::llround(height * max_ratio_);
  }
  part.height = std::clamp<int64_t>(part.height, 1, height_);
  part.width = std::clamp<int64_t>(part.width, 1, width_);
  part.top = (height_ - part.height) / 2;
  part.left = (width_ - part.width) / 2;
  return part;
}

// Bilinear. The part is never larger than the image, so nothing is averaged
// away and no low-pass filter is needed.
void Augmentation::Resize(const uint8_t* pixels, const Part& part,
                          Scratch& scratch) const {
  const auto width = static_cast<size_t>(width_);
  scratch.resized.resize(num_pixels());
  // The columns' interpolations and two rows of the part, widened to the
  // image's width.
  scratch.rows.resize(5 * width);
  int32_t* const left = scratch.rows.data();
  int32_t* const right = left + width;
  int32_t* const weight = right + width;
  for (int64_t x = 0; x < width_; ++x) {
    const Interpolation at = InterpolationAt(x, part.width, width_);
    left[x] = static_cast<int32_t>(at.first);
    right[x] = static_cast<int32_t>(at.second);
    weight[x] = at.weight;
  }
  for (int64_t c = 0; c < channels_; ++c) {
    const uint8_t* corner =
        pixels + (c * height_ + part.top) * width_ + part.left;
    int32_t* upper = weight + width;
    int32_t* lower = upper + width;
    int64_t upper_row = -1;
    int64_t lower_row = -1;
    const auto widen = [&](int64_t row, int32_t* line) {
      const uint8_t* source = corner + row * width_;
      for (size_t x = 0; x < width; ++x) {
        line[x] =
            source[left[x]] * (kOne - weight[x]) + source[right[x]] * weight[x];
      }
    };
    uint8_t* out = scratch.resized.data() + c * height_ * width_;
    for (int64_t y = 0; y < height_; ++y, out += width_) {
      const Interpolation at = InterpolationAt(y, part.height, height_);
      if (at.first == lower_row) {
        std::swap(upper, lower);
        std::swap(upper_row, lower_row);
      }
      if (at.first != upper_row) {
        widen(at.first, upper);
        upper_row = at.first;
      }
      if (at.second != lower_row) {
        widen(at.second, lower);
        lower_row = at.second;
      }
      for (size_t x = 0; x < width; ++x) {
        out[x] = static_cast<uint8_t>((upper[x] * (kOne - at.weight) +
                                       lower[x] * at.weight +
                                       (1 << (2 * kWeightBits - 1))) >>
                                      (2 * kWeightBits));
      }
    }
  }
}

}  // namespace fedlb::data
