#include "transformer.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/stack.h>

#include "absl/strings/str_cat.h"
#include "fedlb/status.h"

namespace fedlb::teacher {
namespace {

// Where a layer's parameters begin, and which they are.
constexpr size_t kFirstLayer = 3;
enum LayerParameter : size_t {
  kAttentionInput,
  kAttentionOutput,
  kHidden,
  kHiddenBias,
  kOutput,
  kOutputBias,
  kNumLayerParameters,
};

at::Tensor Normalised(const at::Tensor& x) {
  return at::layer_norm(x, {x.size(-1)});
}

}  // namespace

ParamSchema<TransformerOptions> Transformer::Schema() {
  return WithFitOptions(
             ParamSchema<Options>()
                 .Add("tokens", &Options::tokens,
                      "Into about how many pieces of equal size the gradient "
                      "is cut; every tensor is at least one.",
                      InClosed(1, 1024))
                 .Add("width", &Options::width,
                      "Numbers that stand for a token.", InClosed(2, 1024))
                 .Add("heads", &Options::heads,
                      "Attention heads, which must divide the width.",
                      InClosed(1, 64))
                 .Add("layers", &Options::layers, "Layers of the encoder.",
                      InClosed(1, 16)))
      .Check([](const Options& options) -> absl::Status {
        if (options.width % options.heads != 0) {
          return ConfigError(
              absl::StrCat("width = ", options.width,
                           " is not a multiple of heads = ", options.heads));
        }
        return absl::OkStatus();
      });
}

absl::StatusOr<std::unique_ptr<Transformer>> Transformer::Create(
    const Options& options, const ComponentContext& context) {
  return std::unique_ptr<Transformer>(new Transformer(options, context.seed));
}

NetworkTeacher::Network Transformer::Describe(
    const TensorLayout& layout) const {
  int64_t numel = 0;
  for (const TensorSpec& spec : layout) {
    numel += spec.numel();
  }
  Network network;
  network.piece_size =
      std::max<int64_t>(1, (numel + options_.tokens - 1) / options_.tokens);
  const int64_t tokens = PieceGrid(layout, network.piece_size).num_pieces();
  const int64_t width = options_.width;
  const double deviation = 1 / std::sqrt(static_cast<double>(width));
  network.Add("input", {width, kNumFeatures},
              1 / std::sqrt(static_cast<double>(kNumFeatures)));
  network.Add("input_bias", {width}, 0);
  network.Add("place", {tokens, width}, 0.02);
  for (int64_t i = 0; i < options_.layers; ++i) {
    network.Add("attention_input", {3 * width, width}, deviation);
    network.Add("attention_output", {width, width}, deviation);
    network.Add("hidden", {2 * width, width}, deviation);
    network.Add("hidden_bias", {2 * width}, 0);
    network.Add("output", {width, 2 * width}, deviation / std::sqrt(2.0));
    network.Add("output_bias", {width}, 0);
  }
  // Zeros: the first image is the constant gain's.
  network.Add("gain", {1, width}, 0);
  network.example = {{"energies", {tokens}}, {"products", {tokens}}};
  network.example_pieces = tokens;
  return network;
}

TensorList Transformer::MakeExample(const at::Tensor& gradient,
                                    const at::Tensor& displacement,
                                    at::Tensor& /*features*/) const {
  return {gradient.square().sum(1), gradient.mul(displacement).sum(1)};
}

at::Tensor Transformer::Gains(const at::Tensor& features) const {
  const int64_t tokens = features.size(0);
  const int64_t heads = options_.heads;
  const int64_t head_width = options_.width / heads;
  at::Tensor x =
      at::linear(features, parameter(0), parameter(1)).add(parameter(2));
  for (int64_t i = 0; i < options_.layers; ++i) {
    const auto of_layer = [&](LayerParameter which) -> const at::Tensor& {
      return parameter(kFirstLayer +
                       static_cast<size_t>(i) * kNumLayerParameters + which);
    };
    // [3, heads, tokens, head_width]
    const at::Tensor projected =
        at::linear(Normalised(x), of_layer(kAttentionInput))
            .view({tokens, 3, heads, head_width})
            .permute({1, 2, 0, 3});
    const at::Tensor weights =
        projected[0]
            .matmul(projected[1].transpose(1, 2))
            .div(std::sqrt(static_cast<double>(head_width)))
            .softmax(-1);
    const at::Tensor mixed = weights.matmul(projected[2])
                                 .transpose(0, 1)
                                 .reshape({tokens, options_.width});
    x = x.add(at::linear(mixed, of_layer(kAttentionOutput)));
    const at::Tensor hidden = at::gelu(
        at::linear(Normalised(x), of_layer(kHidden), of_layer(kHiddenBias)));
    x = x.add(at::linear(hidden, of_layer(kOutput), of_layer(kOutputBias)));
  }
  const size_t last =
      kFirstLayer + static_cast<size_t>(options_.layers) * kNumLayerParameters;
  return BoundedGain(at::linear(Normalised(x), parameter(last)).squeeze(1));
}

at::Tensor Transformer::Moments(const at::Tensor& features,
                                const TensorList& example) const {
  const at::Tensor gains = Gains(features);
  return at::stack(
      {gains.square().mul(example[0]).sum(), gains.mul(example[1]).sum()});
}

void Transformer::Apply(const at::Tensor& features, at::Tensor& rows) const {
  rows.mul_(Gains(features).unsqueeze(1));
}

}  // namespace fedlb::teacher
