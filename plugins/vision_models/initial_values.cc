#include "vision_models/initial_values.h"

#include <cmath>

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>

#include "absl/strings/str_cat.h"
#include "fedlb/random.h"

namespace fedlb::vision_models {
namespace {

constexpr double kTwoPi = 6.283185307179586476925;

// Both numbers that Box and Muller's method makes of two uniform ones: a model
// of 10^8 weights is made in half the time.
template <typename T>
void FillNormal(const Distribution& normal, RandomStream& random, T* data,
                int64_t count) {
  int64_t filled = 0;
  while (filled < count) {
    const double radius =
        normal.scale * std::sqrt(-2 * std::log(1 - random.Uniform()));
    const double angle = kTwoPi * random.Uniform();
    for (const double value :
         {radius * std::cos(angle), radius * std::sin(angle)}) {
      const bool within = normal.limit == 0 || std::abs(value) <= normal.limit;
      if (within && filled < count) {
        data[filled++] = static_cast<T>(value);
      }
    }
  }
}

template <typename T>
void Fill(const Distribution& distribution, RandomStream& random, T* data,
          int64_t count) {
  if (distribution.family == Distribution::Family::kNormal) {
    FillNormal(distribution, random, data, count);
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    data[i] = static_cast<T>(distribution.scale * (2 * random.Uniform() - 1));
  }
}

}  // namespace

Distribution Constant(double value) {
  return {Distribution::Family::kConstant, value};
}

Distribution UniformWithin(double bound) {
  return {Distribution::Family::kUniform, bound};
}

Distribution NormalWith(double deviation) {
  return {Distribution::Family::kNormal, deviation};
}

Distribution TruncatedNormal(double deviation) {
  return {Distribution::Family::kNormal, deviation, /*limit=*/2};
}

Distribution PytorchDefault(int64_t fan_in) {
  return UniformWithin(1 / std::sqrt(static_cast<double>(fan_in)));
}

Distribution HeFanOut(int64_t fan_out) {
  return NormalWith(std::sqrt(2 / static_cast<double>(fan_out)));
}

Distribution XavierUniform(int64_t fan_in, int64_t fan_out) {
  return UniformWithin(std::sqrt(6 / static_cast<double>(fan_in + fan_out)));
}

at::Tensor Draw(const Distribution& distribution, const std::string& name,
                const std::vector<int64_t>& sizes,
                const ComponentContext& context) {
  const auto options =
      at::TensorOptions().dtype(context.dtype).device(context.device);
  if (distribution.family == Distribution::Family::kConstant) {
    return at::full(sizes, distribution.scale, options);
  }
  const std::string purpose = absl::StrCat("model_init.", name);
  RandomStream random({.seed = context.seed, .purpose = purpose});
  // Rounding the same double either way makes a float model the rounded double
  // one, and no double copy of a large layer is held.
  if (context.dtype == at::kFloat) {
    at::Tensor values = at::empty(sizes, at::kFloat);
    Fill(distribution, random, values.mutable_data_ptr<float>(),
         values.numel());
    return values.to(options);
  }
  at::Tensor values = at::empty(sizes, at::kDouble);
  Fill(distribution, random, values.mutable_data_ptr<double>(), values.numel());
  return values.to(options);
}

}  // namespace fedlb::vision_models
