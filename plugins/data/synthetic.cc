#include "data/synthetic.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "fedlb/random.h"
#include "fedlb/status.h"

namespace fedlb::data {
namespace {

// 4 TiB of floats: beyond any machine this runs on, far below any overflow.
constexpr int64_t kMaxValues = int64_t{1} << 40;
constexpr float kPrototypeWeight = 0.5F;

// Standard normal numbers (Box and Muller) in single precision, two for 64
// random bits: several times as fast as RandomStream::Normal, and most of the
// time that a run on this dataset takes to start. Values stay within 5.8.
void FillNormal(const RandomKey& key, absl::Span<float> out) {
  constexpr float kUnit = 0x1p-24F;
  constexpr float kTwoPi = 6.28318530717958647692F;
  RandomStream stream(key);
  for (size_t i = 0; i < out.size(); i += 2) {
    const uint64_t bits = stream();
    // In (0, 1], because of the logarithm.
    const float u = static_cast<float>((bits >> 40) + 1) * kUnit;
    const float v = static_cast<float>((bits >> 8) & 0xffffff) * kUnit;
    const float radius = std::sqrt(-2 * std::log(u));
    out[i] = radius * std::cos(kTwoPi * v);
    if (i + 1 < out.size()) {
      out[i + 1] = radius * std::sin(kTwoPi * v);
    }
  }
}

ExampleArray Generate(const SyntheticOptions& options, uint64_t seed,
                      absl::string_view purpose, int64_t count,
                      size_t example_size,
                      const std::vector<std::vector<float>>& prototypes) {
  const auto noise = static_cast<float>(options.noise);
  ExampleArray examples;
  examples.type = ElementType::kFloat;
  examples.bytes.resize(static_cast<size_t>(count) * example_size *
                        sizeof(float));
  examples.labels.resize(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    const int64_t label = i % options.classes;
    examples.labels[static_cast<size_t>(i)] = label;
    const absl::Span<float> values = examples.mutable_floats().subspan(
        static_cast<size_t>(i) * example_size, example_size);
    FillNormal({.seed = seed, .purpose = purpose, .step = i}, values);
    const std::vector<float>& prototype =
        prototypes[static_cast<size_t>(label)];
    for (size_t j = 0; j < example_size; ++j) {
      values[j] = kPrototypeWeight * prototype[j] + noise * values[j];
    }
  }
  return examples;
}

absl::Status CheckSize(const SyntheticOptions& options) {
  if (options.shape.empty()) {
    return absl::InvalidArgumentError("shape needs at least one dimension");
  }
  int64_t values =
      std::max({options.classes, options.train_size, options.test_size});
  for (const int64_t dim : options.shape) {
    if (__builtin_mul_overflow(values, dim, &values) || values > kMaxValues) {
      return absl::InvalidArgumentError(
          absl::StrCat("the dataset would hold more than 2^40 values; lower "
                       "shape, classes, train_size or test_size"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

ParamSchema<SyntheticOptions> Synthetic::Schema() {
  return ParamSchema<Options>()
      .Add("shape", &Options::shape, "Shape of one example.", AtLeast(1))
      .Add("classes", &Options::classes,
           "Number of classes; example i is of class i mod classes.",
           AtLeast(1))
      .Add("train_size", &Options::train_size, "Number of training examples.",
           AtLeast(1))
      .Add("test_size", &Options::test_size, "Number of test examples.",
           AtLeast(1))
      .Add("noise", &Options::noise,
           "Standard deviation of the noise around 0.5 times the prototype of "
           "the class, which is standard normal.",
           InClosed(0, 1e6))
      .Add("seed", &Options::seed,
           "Seed of the examples; 0 for the seed of the run.", AtLeast(0))
      .Check(CheckSize);
}

absl::StatusOr<std::unique_ptr<Synthetic>> Synthetic::Create(
    const Options& options, const ComponentContext& context) {
  const uint64_t seed =
      options.seed == 0 ? context.seed : static_cast<uint64_t>(options.seed);
  size_t example_size = 1;
  for (const int64_t dim : options.shape) {
    example_size *= static_cast<size_t>(dim);
  }
  std::vector<std::vector<float>> prototypes(
      static_cast<size_t>(options.classes), std::vector<float>(example_size));
  for (size_t c = 0; c < prototypes.size(); ++c) {
    FillNormal({.seed = seed,
                .purpose = "synthetic_prototype",
                .step = static_cast<int64_t>(c)},
               absl::MakeSpan(prototypes[c]));
  }
  ArrayContents contents;
  contents.example_shape = options.shape;
  contents.num_classes = options.classes;
  contents.train = Generate(options, seed, "synthetic_train",
                            options.train_size, example_size, prototypes);
  contents.test = Generate(options, seed, "synthetic_test", options.test_size,
                           example_size, prototypes);
  return std::unique_ptr<Synthetic>(
      new Synthetic(std::move(contents), context));
}

}  // namespace fedlb::data
