#include "data/idx_images.h"

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "data/idx_file.h"
#include "data/input_file.h"
#include "data/labelled_examples.h"
#include "fedlb/status.h"

namespace fedlb::data {
namespace {

constexpr char kTrainImages[] = "train-images-idx3-ubyte";
constexpr char kTrainLabels[] = "train-labels-idx1-ubyte";
constexpr char kTestImages[] = "t10k-images-idx3-ubyte";
constexpr char kTestLabels[] = "t10k-labels-idx1-ubyte";

// The file `name` or `name`.gz in `folder`, or an empty string.
std::string FindPlainOrGzip(const std::filesystem::path& folder,
                            const char* name) {
  for (const char* ending : {"", ".gz"}) {
    const std::filesystem::path path = folder / (std::string(name) + ending);
    std::error_code ignored;
    if (std::filesystem::exists(path, ignored)) {
      return path.string();
    }
  }
  return "";
}

absl::StatusOr<std::vector<int64_t>> ReadLabels(const std::string& path) {
  FEDLB_ASSIGN_OR_RETURN(const IdxArray array, ReadIdxFile(path));
  if (array.dims.size() != 1) {
    return FileFault(
        path,
        absl::StrCat("labels have 1 dimension, this file has ",
                     array.dims.size(), "; are images and labels swapped?"));
  }
  const int64_t count = array.dims[0];
  std::vector<int64_t> labels(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    int64_t& label = labels[static_cast<size_t>(i)];
    switch (array.type) {
      case IdxType::kUint8:
        label = array.At<uint8_t>(i);
        break;
      case IdxType::kInt8:
        label = static_cast<int>(array.At<int8_t>(i));
        break;
      case IdxType::kInt16:
        label = array.At<int16_t>(i);
        break;
      case IdxType::kInt32:
        label = array.At<int32_t>(i);
        break;
      case IdxType::kFloat32:
      case IdxType::kFloat64:
        return FileFault(
            path, absl::StrCat("labels of type ", IdxTypeName(array.type),
                               " are not supported; store integers"));
    }
  }
  return labels;
}

absl::StatusOr<LabelledExamples> ReadPair(const std::string& images_path,
                                          const std::string& labels_path) {
  FEDLB_ASSIGN_OR_RETURN(IdxArray images, ReadIdxFile(images_path));
  const std::vector<int64_t>& dims = images.dims;
  if (dims.size() < 2 || dims.size() > 4) {
    return FileFault(
        images_path,
        absl::StrCat("images have 2, 3 or 4 dimensions, this file has ",
                     dims.size(), "; are images and labels swapped?"));
  }
  if (std::find(dims.begin(), dims.end(), 0) != dims.end()) {
    return FileFault(images_path,
                     absl::StrCat("holds no images: its dimensions are ",
                                  absl::StrJoin(dims, " x ")));
  }
  LabelledExamples result{.path = images_path, .labels_path = labels_path};
  result.example_shape.assign(dims.begin() + 1, dims.end());
  if (dims.size() == 3) {
    result.example_shape.insert(result.example_shape.begin(), 1);
  }
  if (images.type != IdxType::kUint8 && images.type != IdxType::kFloat32) {
    return FileFault(
        images_path,
        absl::StrCat("images of type ", IdxTypeName(images.type),
                     " are not supported; store uint8 or float32"));
  }
  result.examples.bytes = std::move(images.bytes);
  if (images.type == IdxType::kFloat32) {
    result.examples.type = ElementType::kFloat;
    FEDLB_RETURN_IF_ERROR(CheckFinite(images_path, result.examples.floats()));
  }
  FEDLB_ASSIGN_OR_RETURN(result.examples.labels, ReadLabels(labels_path));
  return result;
}

}  // namespace

absl::StatusOr<IdxImagePaths> FindIdxImages(
    const std::string& root, const std::vector<std::string>& folders,
    absl::string_view advice) {
  std::vector<std::string> searched;
  for (const std::string& name : folders) {
    const std::filesystem::path folder =
        name.empty() ? std::filesystem::path(root)
                     : std::filesystem::path(root) / name;
    searched.push_back(folder.string());
    IdxImagePaths paths;
    bool any = false;
    std::vector<std::string> missing;
    const auto find = [&](const char* file, std::string* path) {
      *path = FindPlainOrGzip(folder, file);
      if (path->empty()) {
        missing.push_back(absl::StrCat(file, "[.gz]"));
      } else {
        any = true;
      }
    };
    find(kTrainImages, &paths.train_images);
    find(kTrainLabels, &paths.train_labels);
    find(kTestImages, &paths.test_images);
    find(kTestLabels, &paths.test_labels);
    if (missing.empty()) {
      return paths;
    }
    if (any) {
      return FileFault(
          folder.string(),
          absl::StrCat("no file ", absl::StrJoin(missing, ", "), "; ", advice));
    }
  }
  return InputFileError(
      absl::StrCat("no ", kTrainImages, "[.gz], ", kTrainLabels, "[.gz], ",
                   kTestImages, "[.gz] and ", kTestLabels, "[.gz] in ",
                   absl::StrJoin(searched, ", "), "; ", advice));
}

absl::StatusOr<ArrayContents> ReadIdxImages(const IdxImagePaths& paths,
                                            int64_t num_classes) {
  FEDLB_ASSIGN_OR_RETURN(LabelledExamples train,
                         ReadPair(paths.train_images, paths.train_labels));
  FEDLB_ASSIGN_OR_RETURN(LabelledExamples test,
                         ReadPair(paths.test_images, paths.test_labels));
  return JoinSplits(std::move(train), std::move(test), num_classes);
}

}  // namespace fedlb::data
