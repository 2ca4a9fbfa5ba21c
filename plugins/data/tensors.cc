#include "data/tensors.h"

#include <cstddef>
#include <cstring>
#include <limits>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "data/input_file.h"
#include "data/labelled_examples.h"
#include "data/npy_file.h"
#include "fedlb/safetensors.h"
#include "fedlb/status.h"

namespace fedlb::data {
namespace {

// An array as either format gives it.
struct Array {
  std::string path;
  std::string name;
  // "u1", "f4", "i8": kind and bytes of an element.
  std::string type;
  std::vector<int64_t> shape;
  std::vector<uint8_t> bytes;

  absl::Status Fault(absl::string_view cause) const {
    return FileFault(path, name.empty() ? std::string(cause)
                                        : absl::StrCat(name, ": ", cause));
  }
};

const char* TypeOf(at::ScalarType type) {
  switch (type) {
    case at::kByte:
      return "u1";
    case at::kChar:
      return "i1";
    case at::kShort:
      return "i2";
    case at::kInt:
      return "i4";
    case at::kLong:
      return "i8";
    case at::kUInt16:
      return "u2";
    case at::kUInt32:
      return "u4";
    case at::kUInt64:
      return "u8";
    case at::kFloat:
      return "f4";
    default:
      return at::toString(type);
  }
}

absl::StatusOr<Array> TakeTensor(const std::string& path,
                                 const std::string& name,
                                 const SafetensorsFile& file) {
  const at::Tensor* tensor = file.Find(name);
  if (tensor == nullptr) {
    std::vector<std::string> names;
    for (const auto& [other, ignored] : file.tensors) {
      names.push_back(ShownPath(other));
      if (names.size() == 10) {
        break;
      }
    }
    return FileFault(path, absl::StrCat("no tensor ", name,
                                        "; examples are called x and "
                                        "labels y, and here are: ",
                                        absl::StrJoin(names, ", ")));
  }
  Array array{.path = path,
              .name = name,
              .type = TypeOf(tensor->scalar_type()),
              .shape = tensor->sizes().vec()};
  const auto* first = static_cast<const uint8_t*>(tensor->const_data_ptr());
  array.bytes.assign(first, first + tensor->nbytes());
  return array;
}

absl::StatusOr<Array> TakeNpy(const std::string& path) {
  FEDLB_ASSIGN_OR_RETURN(NpyArray npy, ReadNpyFile(path));
  return Array{.path = path,
               .name = "",
               .type = npy.header.type.substr(1),
               .shape = std::move(npy.header.shape),
               .bytes = std::move(npy.bytes)};
}

template <typename T>
absl::StatusOr<std::vector<int64_t>> Widen(const Array& array) {
  std::vector<int64_t> labels(array.bytes.size() / sizeof(T));
  for (size_t i = 0; i < labels.size(); ++i) {
    T value;
    std::memcpy(&value, array.bytes.data() + i * sizeof(T), sizeof(T));
    if constexpr (std::is_same_v<T, uint64_t>) {
      if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
        return array.Fault(
            absl::StrCat("label ", i, " is ", value, ", which is no class"));
      }
    }
    labels[i] = static_cast<int64_t>(value);
  }
  return labels;
}

absl::StatusOr<std::vector<int64_t>> LabelsOf(const Array& y) {
  if (y.shape.size() != 1) {
    return y.Fault(absl::StrCat("labels have 1 dimension, and this has ",
                                y.shape.size(),
                                "; store the number of each example's class"));
  }
  using Reader = absl::StatusOr<std::vector<int64_t>> (*)(const Array&);
  constexpr std::pair<absl::string_view, Reader> kReaders[] = {
      {"u1", Widen<uint8_t>},  {"i1", Widen<int8_t>},   {"u2", Widen<uint16_t>},
      {"i2", Widen<int16_t>},  {"u4", Widen<uint32_t>}, {"i4", Widen<int32_t>},
      {"u8", Widen<uint64_t>}, {"i8", Widen<int64_t>}};
  for (const auto& [type, widen] : kReaders) {
    if (y.type == type) {
      return widen(y);
    }
  }
  return y.Fault(absl::StrCat("labels of type ", y.type,
                              " are not supported; store integers"));
}

absl::StatusOr<LabelledExamples> MakeSplit(Array x, const Array& y) {
  if (x.shape.size() < 2) {
    return x.Fault(
        absl::StrCat("examples have 2 dimensions or more, the "
                     "first of which counts them; this has ",
                     x.shape.size()));
  }
  LabelledExamples split{.path = x.path, .labels_path = y.path};
  split.example_shape.assign(x.shape.begin() + 1, x.shape.end());
  if (x.type == "f4") {
    split.examples.type = ElementType::kFloat;
  } else if (x.type != "u1") {
    return x.Fault(absl::StrCat("examples of type ", x.type,
                                " are not supported; store uint8 or float32"));
  }
  split.examples.bytes = std::move(x.bytes);
  if (split.examples.type == ElementType::kFloat) {
    FEDLB_RETURN_IF_ERROR(CheckFinite(x.path, split.examples.floats()));
  }
  FEDLB_ASSIGN_OR_RETURN(split.examples.labels, LabelsOf(y));
  return split;
}

// A function of its own, so that the file is gone before more memory is taken.
absl::StatusOr<std::pair<Array, Array>> TakeXAndY(const std::string& path) {
  FEDLB_ASSIGN_OR_RETURN(const SafetensorsFile file, ReadSafetensors(path));
  FEDLB_ASSIGN_OR_RETURN(Array x, TakeTensor(path, "x", file));
  FEDLB_ASSIGN_OR_RETURN(Array y, TakeTensor(path, "y", file));
  return std::make_pair(std::move(x), std::move(y));
}

absl::StatusOr<LabelledExamples> ReadSafetensorsSplit(const std::string& path) {
  FEDLB_ASSIGN_OR_RETURN(auto arrays, TakeXAndY(path));
  return MakeSplit(std::move(arrays.first), arrays.second);
}

absl::StatusOr<LabelledExamples> ReadNpySplit(const std::string& x_path,
                                              const std::string& y_path) {
  FEDLB_ASSIGN_OR_RETURN(Array x, TakeNpy(x_path));
  FEDLB_ASSIGN_OR_RETURN(const Array y, TakeNpy(y_path));
  return MakeSplit(std::move(x), y);
}

// Whether the files are NPY.
absl::StatusOr<bool> IsNpy(const TensorsOptions& options) {
  size_t num_safetensors = 0;
  for (const std::string* path : {&options.train, &options.test}) {
    num_safetensors += path->empty() ? 0 : 1;
  }
  size_t num_npy = 0;
  for (const std::string* path :
       {&options.x_train, &options.y_train, &options.x_test, &options.y_test}) {
    num_npy += path->empty() ? 0 : 1;
  }
  if ((num_safetensors == 2 && num_npy == 0) ||
      (num_safetensors == 0 && num_npy == 4)) {
    return num_npy == 4;
  }
  return ConfigError(
      "dataset tensors: set either train and test to safetensors files, or "
      "x_train, y_train, x_test and y_test to NPY files");
}

}  // namespace

ParamSchema<TensorsOptions> Tensors::Schema() {
  return WithAugmentation(
      ParamSchema<Options>()
          .Add("train", &Options::train,
               "Safetensors file of the training examples: x, uint8 or float32 "
               "of [n, ...], and y, integers of [n].")
          .Add("test", &Options::test, "Safetensors file of the test examples.")
          .Add("x_train", &Options::x_train,
               "NPY file of the training examples, instead of train and test: "
               "uint8 or float32 of [n, ...].")
          .Add("y_train", &Options::y_train,
               "NPY file of the training labels: integers of [n].")
          .Add("x_test", &Options::x_test, "NPY file of the test examples.")
          .Add("y_test", &Options::y_test, "NPY file of the test labels.")
          .Add("mean", &Options::mean,
               "Subtracted from every value; uint8 is scaled to [0, 1] first. "
               "One number, or one for each channel, the first dimension of an "
               "example.",
               InClosed(-1e6, 1e6))
          .Add("std", &Options::std,
               "What every value is then divided by: as for mean.",
               InClosed(1e-6, 1e6))
          .Add("num_classes", &Options::num_classes,
               "Number of classes; 0 for the largest label + 1.",
               InClosed(0, 1e6)));
}

absl::StatusOr<std::unique_ptr<Tensors>> Tensors::Create(
    const Options& options, const ComponentContext& context) {
  FEDLB_ASSIGN_OR_RETURN(const bool is_npy, IsNpy(options));
  FEDLB_ASSIGN_OR_RETURN(LabelledExamples train,
                         is_npy ? ReadNpySplit(options.x_train, options.y_train)
                                : ReadSafetensorsSplit(options.train));
  FEDLB_ASSIGN_OR_RETURN(LabelledExamples test,
                         is_npy ? ReadNpySplit(options.x_test, options.y_test)
                                : ReadSafetensorsSplit(options.test));
  FEDLB_ASSIGN_OR_RETURN(
      ArrayContents contents,
      JoinSplits(std::move(train), std::move(test), options.num_classes));
  FEDLB_RETURN_IF_ERROR(
      CheckNormalisation(contents.example_shape, options.mean, options.std));
  contents.mean = options.mean;
  contents.std = options.std;
  FEDLB_ASSIGN_OR_RETURN(
      contents.augmentation,
      Augmentation::Create(options, contents.example_shape,
                           contents.train.type == ElementType::kPixel));
  return std::unique_ptr<Tensors>(new Tensors(std::move(contents), context));
}

}  // namespace fedlb::data
