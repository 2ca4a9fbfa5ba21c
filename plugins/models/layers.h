// What the models of this plugin share: initial weights and checks of the data.

#ifndef FEDLB_PLUGINS_MODELS_LAYERS_H_
#define FEDLB_PLUGINS_MODELS_LAYERS_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "fedlb/component.h"

namespace fedlb::models {

enum class Initialization { kPytorch, kHe, kZeros };

inline constexpr char kInitDescription[] =
    "Initial weights: \"pytorch\" draws weights and biases uniformly within "
    "1/sqrt(fan_in), \"he\" draws weights from N(0, 2/fan_in) and starts "
    "biases at 0.";

// The choices that let a network of several layers learn.
std::vector<std::pair<std::string, Initialization>> InitializationChoices();

// Makes the initial weights of a model layer by layer. Every tensor has a
// random stream of its own, keyed by the seed and its position, so that its
// values depend neither on the sizes of other layers nor on any generator of
// LibTorch.
class LayerInitializer {
 public:
  LayerInitializer(Initialization kind, const ComponentContext& context);

  // A weight of shape [out, ...], each output fed by fan_in = product of the
  // remaining sizes.
  at::Tensor Weight(const std::vector<int64_t>& sizes);
  // The bias of the layer whose weight was made last.
  at::Tensor Bias();

 private:
  at::Tensor Uniform(const std::vector<int64_t>& sizes, double bound);
  at::Tensor Normal(const std::vector<int64_t>& sizes, double deviation);
  at::Tensor Finish(const at::Tensor& values) const;

  const Initialization kind_;
  const uint64_t seed_;
  const at::Device device_;
  const at::ScalarType dtype_;
  int64_t num_tensors_ = 0;
  int64_t outputs_ = 0;  // of the layer whose weight was made last
  int64_t fan_in_ = 0;
};

// kConfig unless the data set has classes, and examples with at least one
// element.
absl::Status CheckClassification(absl::string_view model,
                                 const ComponentContext& context);
// The same for examples that must be images [channels, height, width] with
// sides of at least `min_side`.
absl::Status CheckImages(absl::string_view model, int64_t min_side,
                         const ComponentContext& context);

}  // namespace fedlb::models

#endif  // FEDLB_PLUGINS_MODELS_LAYERS_H_
