// The dataset `image_folder`: pictures in one folder for each class.

#ifndef FEDLB_DATA_IMAGE_FOLDER_H_
#define FEDLB_DATA_IMAGE_FOLDER_H_

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "data/array_dataset.h"
#include "data/image_loader.h"
#include "fedlb/param_schema.h"

namespace fedlb::data {

struct ImageFolderOptions : ImageOptions {
  double test_fraction = 0.2;
  int64_t split_seed = 0;
};

// Either root/train/<class>/* with root/test or root/val beside it, or
// root/<class>/*, which is divided by a SplitRule. Classes are numbered in the
// order of their names, byte by byte.
class ImageFolder final : public ArrayDataset {
 public:
  using Options = ImageFolderOptions;
  static constexpr char kName[] = "image_folder";
  static constexpr char kSummary[] =
      "JPEG and PNG images of your own, in one folder for each class.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<ImageFolder>> Create(
      const Options& options, const ComponentContext& context);

 private:
  ImageFolder(ArrayContents contents, const ComponentContext& context)
      : ArrayDataset(std::move(contents), context) {}
};

}  // namespace fedlb::data

#endif  // FEDLB_DATA_IMAGE_FOLDER_H_
