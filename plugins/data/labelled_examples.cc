#include "data/labelled_examples.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "data/input_file.h"
#include "fedlb/status.h"

namespace fedlb::data {
namespace {

// A model has an output per class: a stray label must not ask for gigabytes.
constexpr int64_t kMaxInferredClasses = 1'000'000;

const char* TypeName(ElementType type) {
  return type == ElementType::kPixel ? "uint8" : "float32";
}

int64_t CountOf(const LabelledExamples& split) {
  if (split.examples.bytes.empty()) {
    return 0;
  }
  // No more than there are, so the product cannot overflow.
  int64_t bytes = split.examples.type == ElementType::kPixel ? 1 : 4;
  for (const int64_t dim : split.example_shape) {
    bytes *= dim;
  }
  return static_cast<int64_t>(split.examples.bytes.size()) / bytes;
}

absl::Status CheckCounts(const LabelledExamples& split) {
  const int64_t count = CountOf(split);
  if (count == 0) {
    return FileFault(split.path, "holds no examples");
  }
  if (static_cast<int64_t>(split.examples.labels.size()) != count) {
    return FileFault(
        split.labels_path,
        absl::StrCat("holds ", split.examples.labels.size(), " labels, and ",
                     ShownPath(split.path), " ", count,
                     " examples; the files do not belong together"));
  }
  return absl::OkStatus();
}

absl::Status CheckLabels(const LabelledExamples& split, int64_t num_classes) {
  const std::vector<int64_t>& labels = split.examples.labels;
  for (size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] < 0 || labels[i] >= num_classes) {
      return FileFault(split.labels_path,
                       absl::StrCat("label ", i, " is ", labels[i],
                                    ", outside [0, ", num_classes,
                                    "); the file is damaged or of another "
                                    "dataset"));
    }
  }
  return absl::OkStatus();
}

int64_t LargestLabel(const LabelledExamples& split) {
  return *std::max_element(split.examples.labels.begin(),
                           split.examples.labels.end());
}

}  // namespace

absl::Status CheckFinite(const std::string& path,
                         absl::Span<const float> values) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) {
      return FileFault(path, absl::StrCat("value ", i, " is ", values[i],
                                          "; training needs finite numbers"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<ArrayContents> JoinSplits(LabelledExamples train,
                                         LabelledExamples test,
                                         int64_t num_classes) {
  FEDLB_RETURN_IF_ERROR(CheckCounts(train));
  FEDLB_RETURN_IF_ERROR(CheckCounts(test));
  if (train.example_shape != test.example_shape ||
      train.examples.type != test.examples.type) {
    const auto text = [](const LabelledExamples& split) {
      return absl::StrCat(TypeName(split.examples.type), " examples of ",
                          absl::StrJoin(split.example_shape, " x "));
    };
    return FileFault(test.path,
                     absl::StrCat("holds ", text(test), ", and ",
                                  ShownPath(train.path), " ", text(train)));
  }
  if (num_classes == 0) {
    num_classes = 1 + std::clamp<int64_t>(
                          std::max(LargestLabel(train), LargestLabel(test)), 0,
                          kMaxInferredClasses - 1);
  }
  FEDLB_RETURN_IF_ERROR(CheckLabels(train, num_classes));
  FEDLB_RETURN_IF_ERROR(CheckLabels(test, num_classes));

  ArrayContents contents;
  contents.example_shape = std::move(train.example_shape);
  contents.num_classes = num_classes;
  contents.train = std::move(train.examples);
  contents.test = std::move(test.examples);
  return contents;
}

}  // namespace fedlb::data
