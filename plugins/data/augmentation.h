// Random changes of training images: shifts, reflections, resized crops.

#ifndef FEDLB_DATA_AUGMENTATION_H_
#define FEDLB_DATA_AUGMENTATION_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/param_schema.h"
#include "fedlb/random.h"

namespace fedlb::data {

// The options of a dataset derive from these.
struct AugmentOptions {
  std::vector<std::string> augment;
  int64_t pad = 4;
  std::vector<double> crop_scale = {0.08, 1};
  std::vector<double> crop_ratio = {0.75, 4.0 / 3};
};

// Which of `augment` are known, none twice, and the bounds of the crops.
absl::Status CheckAugmentOptions(const AugmentOptions& options);

// Adds the parameters of augmentations to those of a dataset.
template <typename Options>
ParamSchema<Options> WithAugmentation(ParamSchema<Options> schema) {
  return std::move(schema)
      .template Add<std::vector<std::string>>(
          "augment", &Options::augment,
          "What is done to training images, in this order: pad_crop (shift by "
          "up to pad pixels, black at the edges), flip (reflect left to right, "
          "half of the time), random_resized_crop (enlarge a random part). "
          "Each image gets numbers of its own in every epoch.")
      .template Add<int64_t>("pad", &Options::pad,
                             "Largest shift of pad_crop, in pixels.",
                             InClosed(0, 4096))
      .template Add<std::vector<double>>(
          "crop_scale", &Options::crop_scale,
          "Smallest and largest share of the image's area that "
          "random_resized_crop keeps.",
          InLeftOpen(0, 1))
      .template Add<std::vector<double>>(
          "crop_ratio", &Options::crop_ratio,
          "Smallest and largest width of that part over its height.",
          InClosed(0.01, 100))
      .Check(
          [](const Options& options) { return CheckAugmentOptions(options); });
}

// Where the pixels of an image of [c, h, w] are found in another:
//   out(c, y, x) = pixels(c, y + dy, flipped ? w - 1 - (x + dx) : x + dx)
// and black where that lies outside. Shifts and reflections cost nothing this
// way, since whoever normalises the pixels has to read them anyway.
struct ImageView {
  const uint8_t* pixels = nullptr;
  int64_t dy = 0;
  int64_t dx = 0;
  bool flipped = false;
};

// Immutable; used by many threads at once.
class Augmentation {
 public:
  // Working memory of one thread.
  struct Scratch {
    std::vector<uint8_t> copy;
    std::vector<uint8_t> resized;
    std::vector<int32_t> rows;
  };

  // Leaves images as they are.
  Augmentation() = default;

  // For images of `example_shape`, pixels or not. `options` satisfy
  // CheckAugmentOptions.
  //
  // kInvalidArgument (kConfig): augmentations of what is no image of uint8.
  static absl::StatusOr<Augmentation> Create(
      const AugmentOptions& options, const std::vector<int64_t>& example_shape,
      bool is_pixels);

  bool empty() const { return steps_.empty(); }

  // Draws what happens to `pixels` from `random`. The view is of `pixels` or of
  // `scratch`, and valid as long as both.
  ImageView Apply(const uint8_t* pixels, RandomStream& random,
                  Scratch& scratch) const;

 private:
  enum class Step { kPadCrop, kFlip, kRandomResizedCrop };

  // A part of the image, in pixels.
  struct Part {
    int64_t top = 0;
    int64_t left = 0;
    int64_t height = 0;
    int64_t width = 0;
  };

  Part DrawPart(RandomStream& random) const;
  void Resize(const uint8_t* pixels, const Part& part, Scratch& scratch) const;
  size_t num_pixels() const {
    return static_cast<size_t>(channels_ * height_ * width_);
  }

  std::vector<Step> steps_;
  int64_t channels_ = 0;
  int64_t height_ = 0;
  int64_t width_ = 0;
  int64_t pad_ = 0;
  double min_scale_ = 1;
  double max_scale_ = 1;
  double min_ratio_ = 1;
  double max_ratio_ = 1;
};

// Writes the `height` x `width` pixels of one channel of a view, looked up in a
// table of 256 values, whose first stands for black. `plane` is the channel of
// view.pixels.
template <typename T>
void LookUpPlane(const ImageView& view, const uint8_t* plane, int64_t height,
                 int64_t width, const T* table, T* out) {
  // The columns that come from inside the image.
  const int64_t first = std::min(std::max<int64_t>(-view.dx, 0), width);
  const int64_t last =
      std::max(first, std::min<int64_t>(width - view.dx, width));
  for (int64_t y = 0; y < height; ++y, out += width) {
    const int64_t source_y = y + view.dy;
    if (source_y < 0 || source_y >= height) {
      std::fill_n(out, width, table[0]);
      continue;
    }
    const uint8_t* row = plane + source_y * width;
    std::fill(out, out + first, table[0]);
    if (view.flipped) {
      for (int64_t x = first; x < last; ++x) {
        out[x] = table[row[width - 1 - (x + view.dx)]];
      }
    } else {
      for (int64_t x = first; x < last; ++x) {
        out[x] = table[row[x + view.dx]];
      }
    }
    std::fill(out + last, out + width, table[0]);
  }
}

}  // namespace fedlb::data

#endif  // FEDLB_DATA_AUGMENTATION_H_
