// Labelled examples of one shape in memory, and the batches made of them.

#ifndef FEDLB_DATA_ARRAY_DATASET_H_
#define FEDLB_DATA_ARRAY_DATASET_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include <ATen/core/Tensor.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "data/augmentation.h"
#include "fedlb/component.h"
#include "fedlb/dataset.h"
#include "fedlb/random.h"

namespace fedlb::data {

// What the values of an array are stored as.
enum class ElementType {
  kPixel,  // uint8; 255 stands for 1.0
  kFloat,  // float32
};

// One split.
struct ExampleArray {
  ElementType type = ElementType::kPixel;
  // The values of all examples, one example after the other, in this machine's
  // byte order. Whoever read them hands them over as they are: converting them
  // would hold large datasets twice.
  std::vector<uint8_t> bytes;
  std::vector<int64_t> labels;

  // With kFloat.
  absl::Span<const float> floats() const {
    return {reinterpret_cast<const float*>(bytes.data()),
            bytes.size() / sizeof(float)};
  }
  absl::Span<float> mutable_floats() {
    return {reinterpret_cast<float*>(bytes.data()),
            bytes.size() / sizeof(float)};
  }
};

struct ArrayContents {
  std::vector<int64_t> example_shape;
  int64_t num_classes = 0;
  ExampleArray train;
  ExampleArray test;
  // A batch holds (x - mean) / std: one number for all values, or one for each
  // channel, the first dimension of an example of two or more.
  std::vector<double> mean = {0};
  std::vector<double> std = {1};
  // What training examples go through before that.
  Augmentation augmentation;
};

// kInvalidArgument (kConfig): `mean` and `std` are no numbers for examples of
// this shape.
absl::Status CheckNormalisation(const std::vector<int64_t>& example_shape,
                                const std::vector<double>& mean,
                                const std::vector<double>& std);

// The part that datasets in memory have in common. Bytes stay bytes and are
// normalised batch by batch: floats would take four times the memory.
class ArrayDataset : public Dataset {
 public:
  std::vector<int64_t> example_shape() const override {
    return contents_.example_shape;
  }
  int64_t num_classes() const override { return contents_.num_classes; }
  const std::vector<int64_t>& labels(Split split) const override {
    return ExamplesOf(split).labels;
  }
  int64_t memory_bytes() const override;

 protected:
  ArrayDataset(ArrayContents contents, const ComponentContext& context);

 private:
  const ExampleArray& ExamplesOf(Split split) const {
    return split == Split::kTrain ? contents_.train : contents_.test;
  }
  absl::StatusOr<Batch> DoLoad(Split split, absl::Span<const int64_t> indices,
                               const RandomKey* epoch_key) const override;

  // What the 256 values of a pixel become, for each number of `mean`.
  template <typename T>
  using PixelTables = std::vector<std::array<T, 256>>;

  template <typename T>
  const PixelTables<T>& Tables() const {
    if constexpr (std::is_same_v<T, double>) {
      return double_tables_;
    } else {
      return float_tables_;
    }
  }
  template <typename T>
  void Gather(const ExampleArray& examples, absl::Span<const int64_t> indices,
              const RandomKey* epoch_key, T* out) const;
  template <typename T>
  void GatherPixels(const uint8_t* pixels, absl::Span<const int64_t> indices,
                    T* out) const;
  template <typename T>
  void GatherAugmented(const uint8_t* pixels, absl::Span<const int64_t> indices,
                       const RandomKey& epoch_key, T* out) const;
  template <typename T>
  void GatherFloats(const float* values, absl::Span<const int64_t> indices,
                    T* out) const;

  const ArrayContents contents_;
  const at::Device device_;
  const at::ScalarType dtype_;
  size_t example_size_ = 1;
  // Values of an example that share a mean.
  size_t plane_size_ = 1;
  // Filled for the type of batches only.
  PixelTables<float> float_tables_;
  PixelTables<double> double_tables_;
};

}  // namespace fedlb::data

#endif  // FEDLB_DATA_ARRAY_DATASET_H_
