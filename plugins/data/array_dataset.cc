#include "data/array_dataset.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include <ATen/ops/empty.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "fedlb/memory.h"
#include "fedlb/status.h"

namespace fedlb::data {
namespace {

int64_t BytesOf(const ExampleArray& examples) {
  return static_cast<int64_t>(examples.bytes.size() +
                              examples.labels.size() * sizeof(int64_t));
}

// Calls copy(i, example, out) for each of `indices`; `out` advances by an
// example. The examples lie all over memory, and asking for them ahead of time
// makes this three times as fast.
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
    copy(i, example(i), out);
    out += example_size;
  }
}

// The table makes every value the correctly rounded one.
template <typename T>
std::vector<std::array<T, 256>> MakeTables(const ArrayContents& contents) {
  std::vector<std::array<T, 256>> tables(contents.mean.size());
  for (size_t c = 0; c < tables.size(); ++c) {
    for (size_t level = 0; level < tables[c].size(); ++level) {
      tables[c][level] =
          static_cast<T>((static_cast<double>(level) / 255 - contents.mean[c]) /
                         contents.std[c]);
    }
  }
  return tables;
}

bool IsNumberOrPerChannel(const std::vector<int64_t>& example_shape,
                          const std::vector<double>& values) {
  return values.size() == 1 ||
         (example_shape.size() >= 2 &&
          static_cast<int64_t>(values.size()) == example_shape.front());
}

// One number stands for `count` equal ones.
std::vector<double> Repeated(const std::vector<double>& values, size_t count) {
  return values.size() == count ? values
                                : std::vector<double>(count, values.front());
}

// `mean` and `std` with as many numbers each.
ArrayContents WithEqualCounts(ArrayContents contents) {
  const size_t count = std::max(contents.mean.size(), contents.std.size());
  contents.mean = Repeated(contents.mean, count);
  contents.std = Repeated(contents.std, count);
  return contents;
}

}  // namespace

absl::Status CheckNormalisation(const std::vector<int64_t>& example_shape,
                                const std::vector<double>& mean,
                                const std::vector<double>& std) {
  for (const auto& [name, values] :
       {std::make_pair("mean", &mean), std::make_pair("std", &std)}) {
    if (!IsNumberOrPerChannel(example_shape, *values)) {
      return ConfigError(absl::StrCat(
          "dataset.", name, " has ", values->size(), " numbers; examples of [",
          absl::StrJoin(example_shape, ", "), "] take 1",
          example_shape.size() >= 2
              ? absl::StrCat(", or ", example_shape.front(),
                             ", one for each channel")
              : ""));
    }
  }
  return absl::OkStatus();
}

ArrayDataset::ArrayDataset(ArrayContents contents,
                           const ComponentContext& context)
    : contents_(WithEqualCounts(std::move(contents))),
      device_(context.device),
      dtype_(context.dtype) {
  for (const int64_t dim : contents_.example_shape) {
    example_size_ *= static_cast<size_t>(dim);
  }
  plane_size_ = example_size_ / contents_.mean.size();
  if (dtype_ == at::kDouble) {
    double_tables_ = MakeTables<double>(contents_);
  } else {
    float_tables_ = MakeTables<float>(contents_);
  }
}

int64_t ArrayDataset::memory_bytes() const {
  return BytesOf(contents_.train) + BytesOf(contents_.test);
}

template <typename T>
void ArrayDataset::GatherPixels(const uint8_t* pixels,
                                absl::Span<const int64_t> indices,
                                T* out) const {
  ForEachExample(pixels, indices, example_size_, out,
                 [&tables = Tables<T>(), plane_size = plane_size_](
                     size_t /*i*/, const uint8_t* example, T* row) {
                   for (const std::array<T, 256>& table : tables) {
                     for (size_t j = 0; j < plane_size; ++j) {
                       row[j] = table[example[j]];
                     }
                     example += plane_size;
                     row += plane_size;
                   }
                 });
}

template <typename T>
void ArrayDataset::GatherAugmented(const uint8_t* pixels,
                                   absl::Span<const int64_t> indices,
                                   const RandomKey& epoch_key, T* out) const {
  const int64_t channels = contents_.example_shape[0];
  const int64_t height = contents_.example_shape[1];
  const int64_t width = contents_.example_shape[2];
  const int64_t plane = height * width;
  const PixelTables<T>& tables = Tables<T>();
  const uint64_t epoch = HashKey(epoch_key);
  Augmentation::Scratch scratch;
  ForEachExample(
      pixels, indices, example_size_, out,
      [&](size_t i, const uint8_t* example, T* row) {
        RandomStream random(
            {.seed = epoch, .purpose = "augment", .step = indices[i]});
        const ImageView view =
            contents_.augmentation.Apply(example, random, scratch);
        for (int64_t c = 0; c < channels; ++c) {
          const std::array<T, 256>& table =
              tables.size() == 1 ? tables.front()
                                 : tables[static_cast<size_t>(c)];
          LookUpPlane(view, view.pixels + c * plane, height, width,
                      table.data(), row + c * plane);
        }
      });
}

template <typename T>
void ArrayDataset::GatherFloats(const float* values,
                                absl::Span<const int64_t> indices,
                                T* out) const {
  ForEachExample(values, indices, example_size_, out,
                 [this, plane_size = plane_size_](
                     size_t /*i*/, const float* example, T* row) {
                   for (size_t c = 0; c < contents_.mean.size(); ++c) {
                     const T mean = static_cast<T>(contents_.mean[c]);
                     // A product, because divisions would be the bottleneck.
                     const T scale = static_cast<T>(1 / contents_.std[c]);
                     for (size_t j = 0; j < plane_size; ++j) {
                       row[j] = (static_cast<T>(example[j]) - mean) * scale;
                     }
                     example += plane_size;
                     row += plane_size;
                   }
                 });
}

template <typename T>
void ArrayDataset::Gather(const ExampleArray& examples,
                          absl::Span<const int64_t> indices,
                          const RandomKey* epoch_key, T* out) const {
  if (examples.type == ElementType::kFloat) {
    GatherFloats(examples.floats().data(), indices, out);
  } else if (epoch_key == nullptr || contents_.augmentation.empty()) {
    GatherPixels(examples.bytes.data(), indices, out);
  } else {
    GatherAugmented(examples.bytes.data(), indices, *epoch_key, out);
  }
}

absl::StatusOr<Batch> ArrayDataset::DoLoad(Split split,
                                           absl::Span<const int64_t> indices,
                                           const RandomKey* epoch_key) const {
  const MemoryTagScope tag(MemoryTag::kBatch);
  const ExampleArray& chosen = ExamplesOf(split);
  std::vector<int64_t> shape = contents_.example_shape;
  shape.insert(shape.begin(), static_cast<int64_t>(indices.size()));

  Batch batch;
  batch.inputs = at::empty(shape, at::TensorOptions().dtype(dtype_));
  batch.targets =
      at::empty({shape.front()}, at::TensorOptions().dtype(at::kLong));
  if (dtype_ == at::kDouble) {
    Gather(chosen, indices, epoch_key, batch.inputs.mutable_data_ptr<double>());
  } else {
    Gather(chosen, indices, epoch_key, batch.inputs.mutable_data_ptr<float>());
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
