// Folders of pictures, one for each class.

#ifndef FEDLB_DATA_IMAGE_TREE_H_
#define FEDLB_DATA_IMAGE_TREE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "fedlb/logger.h"

namespace fedlb::data {

struct ImageFile {
  std::string path;
  int64_t label = 0;
};

// A picture's file and class for every example, before any is opened.
struct ImageSplits {
  std::vector<ImageFile> train;
  std::vector<ImageFile> test;
  int64_t num_classes = 0;
};

struct ClassFolder {
  std::string name;
  std::vector<std::string> paths;
};

// How images are divided class by class. Within a class the images in the order
// of their names are shuffled, and the front goes to the training set.
struct SplitRule {
  // Share of each class that is for testing, rounded to the nearest number.
  double test_fraction = 0.2;
  // If not 0, so many of each class are for training instead, and all others
  // for testing.
  int64_t train_per_class = 0;
  uint64_t seed = 1;
};

bool IsFolder(const std::string& path);

// The folders in `folder` by name, and the files under each that end in .jpg,
// .jpeg or .png, whatever their case, by path; both orders are those of the
// bytes. Links to files are followed; a link to a folder only where it stands
// for a class, and not one to a folder that it lies in. What is left out is
// logged: other files, hidden ones, links.
//
// kDataLoss (kInputFile): a folder that cannot be read.
absl::StatusOr<std::vector<ClassFolder>> ListClasses(const std::string& folder,
                                                     Logger& logger);

// kDataLoss (kInputFile): no class in `folder`, or one without images.
absl::Status CheckClasses(const std::string& folder,
                          const std::vector<ClassFolder>& classes);

// kDataLoss (kInputFile): as CheckClasses says; kInvalidArgument (kConfig): a
// class too small for the rule, or nothing to test with.
absl::StatusOr<ImageSplits> SplitClasses(
    const std::string& folder, const std::vector<ClassFolder>& classes,
    const SplitRule& rule);

}  // namespace fedlb::data

#endif  // FEDLB_DATA_IMAGE_TREE_H_
