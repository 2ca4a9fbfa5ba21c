#include "data/food101.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "data/image_tree.h"
#include "data/input_file.h"
#include "fedlb/durable_file.h"
#include "fedlb/status.h"

namespace fedlb::data {
namespace {

constexpr size_t kNumClasses = 101;
// The genuine lists have 1.5 MB.
constexpr int64_t kMaxListBytes = 64 << 20;

// A line of a list: "apple_pie/1005649".
struct Entry {
  std::string name;
  std::string id;
};

// Whether a part of a line is one name, so that no line leads out of the folder
// of the images.
bool IsName(absl::string_view text) {
  return !text.empty() && text != "." && text != ".." &&
         !absl::StrContains(text, '/') &&
         !absl::StrContains(text, absl::string_view("\0", 1));
}

// Appends the entries of a list. None may be in `seen` already.
absl::Status ReadList(const std::string& path,
                      absl::flat_hash_set<std::string>& seen,
                      std::vector<Entry>& entries) {
  absl::StatusOr<std::string> text = ReadWholeFile(path, kMaxListBytes);
  if (!text.ok()) {
    return FileFault(path, absl::StrCat("cannot be read as a list: ",
                                        ShownPath(text.status().message())));
  }
  int64_t line_number = 0;
  for (absl::string_view line : absl::StrSplit(*text, '\n')) {
    ++line_number;
    if (absl::EndsWith(line, "\r")) {
      line.remove_suffix(1);
    }
    if (line.empty()) {
      continue;
    }
    const std::vector<std::string> parts = absl::StrSplit(line, '/');
    const std::string where = absl::StrCat(
        "line ", line_number, ": \"", ShownPath(line.substr(0, 200)), "\"");
    if (parts.size() != 2 || !IsName(parts[0]) || !IsName(parts[1])) {
      return FileFault(path, absl::StrCat(where,
                                          " is not <class>/<image>, as in "
                                          "apple_pie/1005649"));
    }
    if (!seen.insert(std::string(line)).second) {
      return FileFault(
          path, absl::StrCat(where, " is there twice, or in both lists"));
    }
    entries.push_back({parts[0], parts[1]});
  }
  if (entries.empty()) {
    return FileFault(path, "names no images");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<ImageFile>> FilesOf(
    const std::string& list, const std::string& images,
    const std::vector<Entry>& entries,
    const std::vector<std::string>& classes) {
  std::vector<ImageFile> files;
  files.reserve(entries.size());
  for (const Entry& entry : entries) {
    const auto found =
        std::lower_bound(classes.begin(), classes.end(), entry.name);
    if (found == classes.end() || *found != entry.name) {
      return FileFault(list, absl::StrCat("class ", ShownPath(entry.name),
                                          " has no training images"));
    }
    files.push_back(
        {absl::StrCat(images, "/", entry.name, "/", entry.id, ".jpg"),
         found - classes.begin()});
  }
  return files;
}

absl::StatusOr<ImageSplits> ReadSplits(const std::string& folder,
                                       Logger& logger) {
  absl::flat_hash_set<std::string> seen;
  const std::string train_list = absl::StrCat(folder, "/meta/train.txt");
  const std::string test_list = absl::StrCat(folder, "/meta/test.txt");
  std::vector<Entry> train;
  std::vector<Entry> test;
  FEDLB_RETURN_IF_ERROR(ReadList(train_list, seen, train));
  FEDLB_RETURN_IF_ERROR(ReadList(test_list, seen, test));

  std::set<std::string> names;
  for (const Entry& entry : train) {
    names.insert(entry.name);
  }
  const std::vector<std::string> classes(names.begin(), names.end());
  if (classes.size() != kNumClasses) {
    logger.Warning(absl::StrCat(ShownPath(train_list), ": ", classes.size(),
                                " classes, and Food-101 has ", kNumClasses,
                                "; is the copy complete?"));
  }
  const std::string images = absl::StrCat(folder, "/images");
  ImageSplits splits;
  splits.num_classes = static_cast<int64_t>(classes.size());
  FEDLB_ASSIGN_OR_RETURN(splits.train,
                         FilesOf(train_list, images, train, classes));
  FEDLB_ASSIGN_OR_RETURN(splits.test,
                         FilesOf(test_list, images, test, classes));
  return splits;
}

absl::StatusOr<std::string> FindFolder(const std::string& root) {
  for (const char* below : {"", "/food-101"}) {
    const std::string folder = absl::StrCat(root, below);
    if (IsFolder(folder + "/images") && IsFolder(folder + "/meta")) {
      return folder;
    }
  }
  return FileFault(root,
                   "no folders images and meta here or in food-101; set "
                   "dataset.root to the folder food-101");
}

}  // namespace

ParamSchema<Food101Options> Food101::Schema() {
  return WithImageOptions(ParamSchema<Options>().AddLocal<std::string>(
      "root", &Options::root,
      "Folder food-101, with images/<class>/<id>.jpg, meta/train.txt and "
      "meta/test.txt, or the one it lies in. Must be set."));
}

absl::StatusOr<std::unique_ptr<Food101>> Food101::Create(
    const Options& options, const ComponentContext& context) {
  if (options.root.empty()) {
    return ConfigError(
        "dataset food101: set root to the folder food-101, or to the one it "
        "lies in");
  }
  FEDLB_ASSIGN_OR_RETURN(const std::string folder, FindFolder(options.root));
  FEDLB_ASSIGN_OR_RETURN(const ImageSplits splits,
                         ReadSplits(folder, *context.logger));
  FEDLB_ASSIGN_OR_RETURN(ArrayContents contents,
                         LoadImages(kName, options, splits, context));
  return std::unique_ptr<Food101>(new Food101(std::move(contents), context));
}

}  // namespace fedlb::data
