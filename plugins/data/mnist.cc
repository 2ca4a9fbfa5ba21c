#include "data/mnist.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <vector>

#include "absl/strings/str_cat.h"
#include "data/idx_images.h"
#include "fedlb/logger.h"
#include "fedlb/status.h"

namespace fedlb::data {
namespace {

constexpr int64_t kNumClasses = 10;

// The first training labels tell the two datasets apart, whose files have the
// same names and sizes: unlike a digest of the files, they do not depend on how
// the files were packed, and 16 labels agree by chance once in 10^16.
constexpr int64_t kMnistLabels[] = {5, 0, 4, 1, 9, 2, 1, 3,
                                    1, 4, 3, 5, 3, 6, 1, 7};
constexpr int64_t kFashionMnistLabels[] = {9, 0, 0, 3, 0, 2, 7, 2,
                                           5, 5, 0, 9, 5, 5, 7, 9};

bool StartsWith(const std::vector<int64_t>& labels,
                const int64_t (&first)[16]) {
  return labels.size() >= std::size(first) &&
         std::equal(std::begin(first), std::end(first), labels.begin());
}

void WarnUnlessIs(const char* name, const ArrayContents& contents,
                  const std::string& root, Logger& logger) {
  const char* found = "something else";
  if (StartsWith(contents.train.labels, kMnistLabels)) {
    found = Mnist::kName;
  } else if (StartsWith(contents.train.labels, kFashionMnistLabels)) {
    found = FashionMnist::kName;
  }
  if (absl::string_view(found) != name) {
    logger.Warning(absl::StrCat(
        "dataset.name is ", name, ", but the training labels in ", root,
        " are those of ", found, "; check dataset.name and dataset.root"));
  }
}

template <typename Options>
ParamSchema<Options> SchemaWithRoot(absl::string_view root_description) {
  return WithAugmentation(
      ParamSchema<Options>()
          .AddLocal("root", &Options::root, root_description)
          .Add("mean", &Options::mean,
               "Subtracted from every pixel after scaling to [0, 1].",
               InClosed(-1e6, 1e6))
          .Add("std", &Options::std, "What every pixel is then divided by.",
               InClosed(1e-6, 1e6)));
}

template <typename Options>
absl::StatusOr<ArrayContents> Read(const Options& options, const char* name,
                                   const std::vector<std::string>& folders,
                                   absl::string_view advice, Logger& logger) {
  FEDLB_ASSIGN_OR_RETURN(const IdxImagePaths paths,
                         FindIdxImages(options.root, folders, advice));
  FEDLB_ASSIGN_OR_RETURN(ArrayContents contents,
                         ReadIdxImages(paths, kNumClasses));
  contents.mean = {options.mean};
  contents.std = {options.std};
  FEDLB_ASSIGN_OR_RETURN(
      contents.augmentation,
      Augmentation::Create(options, contents.example_shape,
                           contents.train.type == ElementType::kPixel));
  WarnUnlessIs(name, contents, options.root, logger);
  return contents;
}

}  // namespace

ParamSchema<MnistOptions> Mnist::Schema() {
  return SchemaWithRoot<Options>(
      "Folder with the four IDX files, plain or .gz, or with a folder raw or "
      "MNIST/raw that has them. Must be set.");
}

absl::StatusOr<std::unique_ptr<Mnist>> Mnist::Create(
    const Options& options, const ComponentContext& context) {
  if (options.root.empty()) {
    return ConfigError(
        "dataset mnist: set root to the folder with train-images-idx3-ubyte.gz "
        "and the three other files");
  }
  FEDLB_ASSIGN_OR_RETURN(
      ArrayContents contents,
      Read(options, kName, {"", "raw", "MNIST/raw"},
           "set dataset.root to the folder with the four files of MNIST",
           *context.logger));
  return std::unique_ptr<Mnist>(new Mnist(std::move(contents), context));
}

ParamSchema<FashionMnistOptions> FashionMnist::Schema() {
  return SchemaWithRoot<Options>(
      "Folder with the four IDX files, plain or .gz, or with a folder raw or "
      "FashionMNIST/raw that has them. The default is where Debian's package "
      "dataset-fashion-mnist puts them.");
}

absl::StatusOr<std::unique_ptr<FashionMnist>> FashionMnist::Create(
    const Options& options, const ComponentContext& context) {
  FEDLB_ASSIGN_OR_RETURN(
      ArrayContents contents,
      Read(options, kName, {"", "raw", "FashionMNIST/raw"},
           "run apt install dataset-fashion-mnist, or set dataset.root to the "
           "folder with the four files",
           *context.logger));
  return std::unique_ptr<FashionMnist>(
      new FashionMnist(std::move(contents), context));
}

}  // namespace fedlb::data
