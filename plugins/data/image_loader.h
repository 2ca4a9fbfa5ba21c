// Decodes the pictures of a dataset into memory.

#ifndef FEDLB_DATA_IMAGE_LOADER_H_
#define FEDLB_DATA_IMAGE_LOADER_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/array_dataset.h"
#include "data/augmentation.h"
#include "data/image_tree.h"
#include "fedlb/component.h"
#include "fedlb/param_schema.h"

namespace fedlb::data {

// What happens to files that cannot be decoded without complaint.
enum class DamagedFiles {
  kSkip,  // left out
  kUse,   // used if they can be decoded at all
  kFail,  // an error
};

// What the datasets of pictures have in common; their options derive from it.
// Mean and standard deviation are those of ImageNet, which models that were
// trained elsewhere expect.
struct ImageOptions : AugmentOptions {
  std::string root;
  int64_t size = 224;
  DamagedFiles damaged = DamagedFiles::kSkip;
  AutoInteger decode_threads;
  std::vector<double> mean = {0.485, 0.456, 0.406};
  std::vector<double> std = {0.229, 0.224, 0.225};
};

template <typename Options>
ParamSchema<Options> WithImageOptions(ParamSchema<Options> schema) {
  return WithAugmentation(
      std::move(schema)
          .template Add<int64_t>(
              "size", &Options::size,
              "Height and width of the images in memory. Each is scaled so "
              "that its shorter side has so many pixels, and the middle of "
              "the longer one is kept. The dataset takes 3 * size * size bytes "
              "for each image.",
              InClosed(1, 2048))
          .template AddChoice<DamagedFiles>(
              "damaged", &Options::damaged,
              {{"skip", DamagedFiles::kSkip},
               {"use", DamagedFiles::kUse},
               {"fail", DamagedFiles::kFail}},
              "What to do about files that are cut off or damaged: leave them "
              "out, use what can be decoded of them, or end with an error.")
          .template Add<AutoInteger>(
              "decode_threads", &Options::decode_threads,
              "Threads that decode the images, at most 64; auto for one for "
              "each core. The result is the same.")
          .template Add<std::vector<double>>(
              "mean", &Options::mean,
              "Subtracted from every pixel after scaling to [0, 1]: one number "
              "for each of red, green and blue, or one for all.",
              InClosed(-1e6, 1e6))
          .template Add<std::vector<double>>(
              "std", &Options::std,
              "What every pixel is then divided by: as for mean.",
              InClosed(1e-6, 1e6)));
}

// Decodes all files of `splits` and logs which were damaged. `dataset` is the
// component's name.
//
// kInvalidArgument (kConfig): options that contradict each other.
// kDataLoss (kInputFile): a damaged file under kFail, or a split of which
// nothing is left. kResourceExhausted: more bytes than the machine has.
absl::StatusOr<ArrayContents> LoadImages(absl::string_view dataset,
                                         const ImageOptions& options,
                                         const ImageSplits& splits,
                                         const ComponentContext& context);

}  // namespace fedlb::data

#endif  // FEDLB_DATA_IMAGE_LOADER_H_
