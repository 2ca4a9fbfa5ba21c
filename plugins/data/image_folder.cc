#include "data/image_folder.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "data/image_tree.h"
#include "data/input_file.h"
#include "fedlb/status.h"

namespace fedlb::data {
namespace {

// The files of one split's folder.
absl::Status AppendFiles(const std::string& folder,
                         const std::vector<ClassFolder>& classes,
                         const std::vector<ClassFolder>& numbered,
                         std::vector<ImageFile>& files) {
  for (const ClassFolder& from : classes) {
    const auto found = std::find_if(
        numbered.begin(), numbered.end(),
        [&](const ClassFolder& other) { return other.name == from.name; });
    if (found == numbered.end()) {
      return FileFault(absl::StrCat(folder, "/", from.name),
                       "the training images have no class of this name");
    }
    for (const std::string& path : from.paths) {
      files.push_back({path, found - numbered.begin()});
    }
  }
  if (files.empty()) {
    return FileFault(folder, "no .jpg or .png files in any folder here");
  }
  return absl::OkStatus();
}

absl::StatusOr<ImageSplits> ListGivenSplits(const std::string& train_folder,
                                            const std::string& test_folder,
                                            Logger& logger) {
  FEDLB_ASSIGN_OR_RETURN(const auto train, ListClasses(train_folder, logger));
  FEDLB_RETURN_IF_ERROR(CheckClasses(train_folder, train));
  FEDLB_ASSIGN_OR_RETURN(const auto test, ListClasses(test_folder, logger));
  ImageSplits splits;
  splits.num_classes = static_cast<int64_t>(train.size());
  FEDLB_RETURN_IF_ERROR(AppendFiles(train_folder, train, train, splits.train));
  FEDLB_RETURN_IF_ERROR(AppendFiles(test_folder, test, train, splits.test));
  return splits;
}

absl::StatusOr<ImageSplits> ListSplits(const ImageFolderOptions& options,
                                       const ComponentContext& context) {
  const std::string train = absl::StrCat(options.root, "/train");
  if (IsFolder(train)) {
    for (const char* name : {"/test", "/val"}) {
      const std::string test = absl::StrCat(options.root, name);
      if (IsFolder(test)) {
        return ListGivenSplits(train, test, *context.logger);
      }
    }
    return FileFault(options.root,
                     "has a folder train and neither test nor val; add one, or "
                     "set dataset.root to the folder train to have it divided");
  }
  FEDLB_ASSIGN_OR_RETURN(const auto classes,
                         ListClasses(options.root, *context.logger));
  return SplitClasses(
      options.root, classes,
      {.test_fraction = options.test_fraction,
       .seed = options.split_seed == 0
                   ? context.seed
                   : static_cast<uint64_t>(options.split_seed)});
}

}  // namespace

ParamSchema<ImageFolderOptions> ImageFolder::Schema() {
  return WithImageOptions(
      ParamSchema<Options>()
          .AddLocal<std::string>(
              "root", &Options::root,
              "Folder with train/<class>/* and test/<class>/* or "
              "val/<class>/*, or with <class>/* to be divided. Classes are "
              "numbered by name. Must be set.")
          .Add("test_fraction", &Options::test_fraction,
               "Share of each class that is for testing, where there is no "
               "folder train.",
               InOpen(0, 1))
          .Add("split_seed", &Options::split_seed,
               "Seed of that division; 0 for the seed of the run.",
               AtLeast(0)));
}

absl::StatusOr<std::unique_ptr<ImageFolder>> ImageFolder::Create(
    const Options& options, const ComponentContext& context) {
  if (options.root.empty()) {
    return ConfigError(
        "dataset image_folder: set root to the folder with the images");
  }
  FEDLB_ASSIGN_OR_RETURN(const ImageSplits splits,
                         ListSplits(options, context));
  FEDLB_ASSIGN_OR_RETURN(ArrayContents contents,
                         LoadImages(kName, options, splits, context));
  return std::unique_ptr<ImageFolder>(
      new ImageFolder(std::move(contents), context));
}

}  // namespace fedlb::data
