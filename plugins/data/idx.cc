#include "data/idx.h"

#include <initializer_list>

#include "data/idx_images.h"
#include "fedlb/status.h"

namespace fedlb::data {
namespace {

absl::StatusOr<IdxImagePaths> PathsOf(const IdxOptions& options) {
  int num_files = 0;
  for (const std::string* path : {&options.train_images, &options.train_labels,
                                  &options.test_images, &options.test_labels}) {
    num_files += path->empty() ? 0 : 1;
  }
  if (num_files == 4 && options.root.empty()) {
    return IdxImagePaths{options.train_images, options.train_labels,
                         options.test_images, options.test_labels};
  }
  if (num_files != 0 || options.root.empty()) {
    return ConfigError(
        "dataset idx: set either root, or all of train_images, train_labels, "
        "test_images and test_labels");
  }
  return FindIdxImages(options.root,
                       {"", "raw", "FashionMNIST/raw", "MNIST/raw"},
                       "set dataset.root to the folder that has them, or "
                       "name the files (dataset.train_images, ...)");
}

}  // namespace

ParamSchema<IdxOptions> Idx::Schema() {
  return WithAugmentation(
      ParamSchema<Options>()
          .AddLocal("root", &Options::root,
               "Folder with train-images-idx3-ubyte, train-labels-idx1-ubyte, "
               "t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, each plain "
               "or .gz, or with a folder raw, FashionMNIST/raw or MNIST/raw "
               "that has them.")
          .Add("train_images", &Options::train_images,
               "File with the training images, instead of root: uint8 or "
               "float32 of [n, h, w], [n, c, h, w] or [n, d].")
          .Add("train_labels", &Options::train_labels,
               "File with the training labels: integers of [n].")
          .Add("test_images", &Options::test_images,
               "File with the test images.")
          .Add("test_labels", &Options::test_labels,
               "File with the test labels.")
          .Add("mean", &Options::mean,
               "Subtracted from every value; uint8 is scaled to [0, 1] first.",
               InClosed(-1e6, 1e6))
          .Add("std", &Options::std, "What every value is then divided by.",
               InClosed(1e-6, 1e6))
          .Add("num_classes", &Options::num_classes,
               "Number of classes; 0 for the largest label + 1.",
               InClosed(0, 1e6)));
}

absl::StatusOr<std::unique_ptr<Idx>> Idx::Create(
    const Options& options, const ComponentContext& context) {
  FEDLB_ASSIGN_OR_RETURN(const IdxImagePaths paths, PathsOf(options));
  FEDLB_ASSIGN_OR_RETURN(ArrayContents contents,
                         ReadIdxImages(paths, options.num_classes));
  contents.mean = {options.mean};
  contents.std = {options.std};
  FEDLB_ASSIGN_OR_RETURN(
      contents.augmentation,
      Augmentation::Create(options, contents.example_shape,
                           contents.train.type == ElementType::kPixel));
  return std::unique_ptr<Idx>(new Idx(std::move(contents), context));
}

}  // namespace fedlb::data
