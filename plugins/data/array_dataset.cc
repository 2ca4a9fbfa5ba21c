#include "data/array_dataset.h"

#include <array>
#include <cstddef>
#include <utility>

#include <ATen/ops/empty.h>

#include "fedlb/memory.h"

namespace fedlb::data {
namespace {

int64_t BytesOf(const ExampleArray& examples) {
  return static_cast<int64_t>(examples.pixels.size() +
                              examples.values.size() * sizeof(float) +
                              examples.labels.size() * sizeof(int64_t));
}

// Copies the examples at `indices` next to each other. The table makes every
// value the correctly rounded one, and costs one load per pixel.
template <typename T>
void GatherPixels(const ArrayContents& contents, const uint8_t* pixels,
                  absl::Span<const int64_t> indices, size_t example_size,
                  T* out) {
  std::array<T, 256> table;
  for (size_t level = 0; level < table.size(); ++level) {
    table[level] = static_cast<T>(
        (static_cast<double>(level) / 255 - contents.mean) / contents.std);
  }
  for (const int64_t index : indices) {
    const uint8_t* in = pixels + static_cast<size_t>(index) * example_size;
    for (size_t i = 0; i < example_size; ++i) {
      out[i] = table[in[i]];
    }
    out += example_size;
  }
}

template <typename T>
void GatherValues(const ArrayContents& contents, const float* values,
                  absl::Span<const int64_t> indices, size_t example_size,
                  T* out) {
  // A product, because divisions would be the bottleneck.
  const T mean = static_cast<T>(contents.mean);
  const T scale = static_cast<T>(1 / contents.std);
  for (const int64_t index : indices) {
    const float* in = values + static_cast<size_t>(index) * example_size;
    for (size_t i = 0; i < example_size; ++i) {
      out[i] = (static_cast<T>(in[i]) - mean) * scale;
    }
    out += example_size;
  }
}

template <typename T>
void Gather(const ArrayContents& contents, const ExampleArray& examples,
            absl::Span<const int64_t> indices, at::Tensor& inputs) {
  const auto example_size =
      static_cast<size_t>(inputs.numel()) / indices.size();
  T* out = inputs.mutable_data_ptr<T>();
  if (examples.pixels.empty()) {
    GatherValues(contents, examples.values.data(), indices, example_size, out);
  } else {
    GatherPixels(contents, examples.pixels.data(), indices, example_size, out);
  }
}

}  // namespace

ArrayDataset::ArrayDataset(ArrayContents contents,
                           const ComponentContext& context)
    : contents_(std::move(contents)),
      device_(context.device),
      dtype_(context.dtype) {}

int64_t ArrayDataset::memory_bytes() const {
  return BytesOf(contents_.train) + BytesOf(contents_.test);
}

absl::StatusOr<Batch> ArrayDataset::DoLoad(
    Split split, absl::Span<const int64_t> indices,
    const RandomKey* /*epoch_key*/) const {
  const MemoryTagScope tag(MemoryTag::kBatch);
  const ExampleArray& chosen = examples(split);
  std::vector<int64_t> shape = contents_.example_shape;
  shape.insert(shape.begin(), static_cast<int64_t>(indices.size()));

  Batch batch;
  batch.inputs = at::empty(shape, at::TensorOptions().dtype(dtype_));
  batch.targets =
      at::empty({shape.front()}, at::TensorOptions().dtype(at::kLong));
  if (dtype_ == at::kDouble) {
    Gather<double>(contents_, chosen, indices, batch.inputs);
  } else {
    Gather<float>(contents_, chosen, indices, batch.inputs);
  }
  int64_t* targets = batch.targets.mutable_data_ptr<int64_t>();
  for (size_t i = 0; i < indices.size(); ++i) {
    targets[i] = chosen.labels[static_cast<size_t>(indices[i])];
  }
  if (!device_.is_cpu()) {
    batch.inputs = batch.inputs.to(device_);
    batch.targets = batch.targets.to(device_);
  }
  return batch;
}

}  // namespace fedlb::data
