#include "data/array_dataset.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include <ATen/ops/empty.h>

#include "fedlb/memory.h"

namespace fedlb::data {
namespace {

int64_t BytesOf(const ExampleArray& examples) {
  return static_cast<int64_t>(examples.bytes.size() +
                              examples.labels.size() * sizeof(int64_t));
}

// Calls copy(example, out) for each of `indices`; `out` advances by an example.
// The examples lie all over memory, and asking for them ahead of time makes
// this three times as fast.
template <typename In, typename Out, typename Copy>
void ForEachExample(const In* data, absl::Span<const int64_t> indices,
                    size_t example_size, Out* out, const Copy& copy) {
  constexpr size_t kAhead = 2;
  constexpr size_t kLineBytes = 64;
  // The hardware itself follows a longer run of addresses.
  const size_t prefetched =
      std::min<size_t>(example_size * sizeof(In), 64 * kLineBytes);
  const auto example = [&](size_t i) {
    return data + static_cast<size_t>(indices[i]) * example_size;
  };
  for (size_t i = 0; i < indices.size(); ++i) {
    if (i + kAhead < indices.size()) {
      const auto* next = reinterpret_cast<const char*>(example(i + kAhead));
      for (size_t byte = 0; byte < prefetched; byte += kLineBytes) {
        __builtin_prefetch(next + byte);
      }
    }
    copy(example(i), out);
    out += example_size;
  }
}

// The table makes every value the correctly rounded one.
template <typename T>
void GatherPixels(const ArrayContents& contents, const uint8_t* pixels,
                  absl::Span<const int64_t> indices, size_t example_size,
                  T* out) {
  std::array<T, 256> table;
  for (size_t level = 0; level < table.size(); ++level) {
    table[level] = static_cast<T>(
        (static_cast<double>(level) / 255 - contents.mean) / contents.std);
  }
  ForEachExample(pixels, indices, example_size, out,
                 [&](const uint8_t* example, T* row) {
                   for (size_t i = 0; i < example_size; ++i) {
                     row[i] = table[example[i]];
                   }
                 });
}

template <typename T>
void GatherFloats(const ArrayContents& contents, const float* values,
                  absl::Span<const int64_t> indices, size_t example_size,
                  T* out) {
  // A product, because divisions would be the bottleneck.
  const T mean = static_cast<T>(contents.mean);
  const T scale = static_cast<T>(1 / contents.std);
  ForEachExample(values, indices, example_size, out,
                 [&](const float* example, T* row) {
                   for (size_t i = 0; i < example_size; ++i) {
                     row[i] = (static_cast<T>(example[i]) - mean) * scale;
                   }
                 });
}

template <typename T>
void Gather(const ArrayContents& contents, const ExampleArray& examples,
            absl::Span<const int64_t> indices, at::Tensor& inputs) {
  const auto example_size =
      static_cast<size_t>(inputs.numel()) / indices.size();
  T* out = inputs.mutable_data_ptr<T>();
  if (examples.type == ElementType::kFloat) {
    GatherFloats(contents, examples.floats().data(), indices, example_size,
                 out);
  } else {
    GatherPixels(contents, examples.bytes.data(), indices, example_size, out);
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
  const ExampleArray& chosen = ExamplesOf(split);
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
