#include "data/idx_images.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include "data/idx_file.h"
#include "fedlb/status.h"

namespace fedlb::data {
namespace {

// A model has an output per class: a stray label must not ask for gigabytes.
constexpr int64_t kMaxInferredClasses = 1'000'000;

constexpr char kTrainImages[] = "train-images-idx3-ubyte";
constexpr char kTrainLabels[] = "train-labels-idx1-ubyte";
constexpr char kTestImages[] = "t10k-images-idx3-ubyte";
constexpr char kTestLabels[] = "t10k-labels-idx1-ubyte";

absl::Status Fault(const std::string& path, absl::string_view cause) {
  return InputFileError(absl::StrCat(path, ": ", cause));
}

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

struct LabelledImages {
  std::vector<int64_t> example_shape;
  IdxType type = IdxType::kUint8;
  ExampleArray examples;
};

absl::StatusOr<std::vector<int64_t>> ReadLabels(const std::string& path) {
  FEDLB_ASSIGN_OR_RETURN(const IdxArray array, ReadIdxFile(path));
  if (array.dims.size() != 1) {
    return Fault(path, absl::StrCat("labels have 1 dimension, this file has ",
                                    array.dims.size(),
                                    "; are images and labels swapped?"));
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
        return Fault(path,
                     absl::StrCat("labels of type ", IdxTypeName(array.type),
                                  " are not supported; store integers"));
    }
  }
  return labels;
}

absl::Status CheckFinite(const std::string& path,
                         absl::Span<const float> values) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) {
      return Fault(path, absl::StrCat("value ", i, " is ", values[i],
                                      "; training needs finite numbers"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<LabelledImages> ReadPair(const std::string& images_path,
                                        const std::string& labels_path) {
  FEDLB_ASSIGN_OR_RETURN(IdxArray images, ReadIdxFile(images_path));
  const std::vector<int64_t>& dims = images.dims;
  if (dims.size() < 2 || dims.size() > 4) {
    return Fault(
        images_path,
        absl::StrCat("images have 2, 3 or 4 dimensions, this file has ",
                     dims.size(), "; are images and labels swapped?"));
  }
  if (std::find(dims.begin(), dims.end(), 0) != dims.end()) {
    return Fault(images_path,
                 absl::StrCat("holds no images: its dimensions are ",
                              absl::StrJoin(dims, " x ")));
  }
  LabelledImages result;
  result.type = images.type;
  result.example_shape.assign(dims.begin() + 1, dims.end());
  if (dims.size() == 3) {
    result.example_shape.insert(result.example_shape.begin(), 1);
  }
  if (images.type != IdxType::kUint8 && images.type != IdxType::kFloat32) {
    return Fault(images_path,
                 absl::StrCat("images of type ", IdxTypeName(images.type),
                              " are not supported; store uint8 or float32"));
  }
  result.examples.bytes = std::move(images.bytes);
  if (images.type == IdxType::kFloat32) {
    result.examples.type = ElementType::kFloat;
    FEDLB_RETURN_IF_ERROR(CheckFinite(images_path, result.examples.floats()));
  }
  FEDLB_ASSIGN_OR_RETURN(result.examples.labels, ReadLabels(labels_path));
  if (static_cast<int64_t>(result.examples.labels.size()) != dims[0]) {
    return Fault(labels_path,
                 absl::StrCat("holds ", result.examples.labels.size(),
                              " labels, and ", images_path, " ", dims[0],
                              " images; the files do not belong together"));
  }
  return result;
}

absl::Status CheckLabels(const std::string& path,
                         const std::vector<int64_t>& labels,
                         int64_t num_classes) {
  for (size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] < 0 || labels[i] >= num_classes) {
      return Fault(path, absl::StrCat("label ", i, " is ", labels[i],
                                      ", outside [0, ", num_classes,
                                      "); the file is damaged or of another "
                                      "dataset"));
    }
  }
  return absl::OkStatus();
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
      return Fault(
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
  FEDLB_ASSIGN_OR_RETURN(LabelledImages train,
                         ReadPair(paths.train_images, paths.train_labels));
  FEDLB_ASSIGN_OR_RETURN(LabelledImages test,
                         ReadPair(paths.test_images, paths.test_labels));
  if (train.example_shape != test.example_shape || train.type != test.type) {
    return Fault(
        paths.test_images,
        absl::StrCat("holds ", IdxTypeName(test.type), " images of ",
                     absl::StrJoin(test.example_shape, " x "), ", and ",
                     paths.train_images, " ", IdxTypeName(train.type),
                     " images of ", absl::StrJoin(train.example_shape, " x ")));
  }
  if (num_classes == 0) {
    for (const LabelledImages* split : {&train, &test}) {
      num_classes = std::max(
          num_classes, 1 + *std::max_element(split->examples.labels.begin(),
                                             split->examples.labels.end()));
    }
    num_classes = std::clamp<int64_t>(num_classes, 1, kMaxInferredClasses);
  }
  FEDLB_RETURN_IF_ERROR(
      CheckLabels(paths.train_labels, train.examples.labels, num_classes));
  FEDLB_RETURN_IF_ERROR(
      CheckLabels(paths.test_labels, test.examples.labels, num_classes));

  ArrayContents contents;
  contents.example_shape = std::move(train.example_shape);
  contents.num_classes = num_classes;
  contents.train = std::move(train.examples);
  contents.test = std::move(test.examples);
  return contents;
}

}  // namespace fedlb::data
