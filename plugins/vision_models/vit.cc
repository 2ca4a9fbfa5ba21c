#include "vision_models/vit.h"

#include <cmath>

#include <ATen/ops/cat.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/scaled_dot_product_attention.h>

#include "absl/strings/str_cat.h"

namespace fedlb::vision_models {
namespace {

int64_t PatchSide(Stem stem) { return stem == Stem::kImagenet ? 16 : 4; }

}  // namespace

ParamSchema<VitOptions> VisionTransformer::Schema() {
  using Options = VitOptions;
  return ParamSchema<Options>()
      .AddChoice(
          "stem", &Options::stem, StemChoices(),
          "Size of a patch, which must divide both sides of the image. "
          "\"imagenet\": 16x16 pixels, names and shapes as in torchvision. "
          "\"cifar\": 4x4 pixels. \"auto\": \"cifar\" for sides up to 64.")
      .Add("dropout", &Options::dropout,
           absl::StrCat(kDropoutDescription,
                        " It follows the position embedding, attention and "
                        "both layers of each MLP."),
           InHalfOpen(0, 1));
}

absl::Status VisionTransformer::Check(absl::string_view model,
                                      const VitOptions& options,
                                      const ComponentContext& context) {
  const Stem stem = ResolveStem(options.stem, context);
  const int64_t side = PatchSide(stem);
  FEDLB_RETURN_IF_ERROR(CheckImages(model, side, context));
  const std::vector<int64_t>& shape = context.example_shape;
  if (shape[1] % side != 0 || shape[2] % side != 0) {
    return ConfigError(absl::StrCat(
        "model ", model, " cuts images into patches of ", side, "x", side,
        " pixels (model.stem = \"",
        stem == Stem::kImagenet ? "imagenet" : "cifar",
        "\"), which do not tile the ", shape[1], "x", shape[2],
        " of the dataset; choose the other stem or another size of image"));
  }
  return absl::OkStatus();
}

// A. Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021, section
// 3.1 and Table 1: normalisation before each half of a layer, a class token,
// learned positions. The head is linear and starts at zero, as in torchvision;
// the paper has a hidden layer there for pre-training.
VisionTransformer::VisionTransformer(const VitShape& shape,
                                     const VitOptions& options,
                                     const ComponentContext& context)
    : VisionModel(context), heads_(shape.heads), dropout_(options.dropout) {
  const std::vector<int64_t>& image = context.example_shape;
  const int64_t side = PatchSide(ResolveStem(options.stem, context));
  class_token_ = AddDrawn("class_token", {1, 1, shape.width}, Constant(0));
  const ConvShape patches = {.inputs = image[0],
                             .outputs = shape.width,
                             .kernel = side,
                             .stride = side};
  patches_ = AddConv(
      "conv_proj", patches,
      TruncatedNormal(1 / std::sqrt(static_cast<double>(patches.fan_in()))),
      Constant(0));
  const int64_t tokens = (image[1] / side) * (image[2] / side) + 1;
  positions_ = AddDrawn("encoder.pos_embedding", {1, tokens, shape.width},
                        NormalWith(0.02));
  for (int64_t i = 0; i < shape.depth; ++i) {
    AddEncoderLayer(absl::StrCat("encoder.layers.encoder_layer_", i), shape);
  }
  norm_ = AddLayerNorm("encoder.ln", shape.width);
  head_ = AddLinear("heads.head", shape.width, context.num_classes, Constant(0),
                    Constant(0));
}

void VisionTransformer::AddEncoderLayer(const std::string& name,
                                        const VitShape& shape) {
  const int64_t width = shape.width;
  const std::string attention = name + ".self_attention";
  EncoderLayer layer;
  layer.attention_norm = AddLayerNorm(name + ".ln_1", width);
  layer.attention_input.weight =
      AddDrawn(attention + ".in_proj_weight", {3 * width, width},
               XavierUniform(width, 3 * width));
  layer.attention_input.bias =
      AddDrawn(attention + ".in_proj_bias", {3 * width}, Constant(0));
  layer.attention_output = AddLinear(attention + ".out_proj", width, width,
                                     PytorchDefault(width), Constant(0));
  layer.mlp_norm = AddLayerNorm(name + ".ln_2", width);
  const Distribution mlp_weight = XavierUniform(width, shape.mlp_width);
  layer.mlp_hidden = AddLinear(name + ".mlp.0", width, shape.mlp_width,
                               mlp_weight, NormalWith(1e-6));
  layer.mlp_output = AddLinear(name + ".mlp.3", shape.mlp_width, width,
                               mlp_weight, NormalWith(1e-6));
  layers_.push_back(std::move(layer));
}

// A. Vaswani et al., "Attention Is All You Need", NeurIPS 2017, section 3.2.
at::Tensor VisionTransformer::Attend(const EncoderLayer& layer,
                                     const at::Tensor& x,
                                     int64_t readers) const {
  const int64_t batch = x.size(0);
  const int64_t width = x.size(2);
  // `count` of the parts queries, keys and values from `first` on, for
  // `tokens`: [count, batch, heads, tokens, width / heads].
  const auto project = [&](const at::Tensor& tokens, int64_t first,
                           int64_t count) {
    const Linear part = {
        layer.attention_input.weight.narrow(0, first * width, count * width),
        layer.attention_input.bias.narrow(0, first * width, count * width)};
    return part(tokens)
        .view({batch, tokens.size(1), count, heads_, width / heads_})
        .permute({2, 0, 3, 1, 4});
  };
  const bool all_read = readers == x.size(1);
  const at::Tensor parts = all_read ? project(x, 0, 3) : project(x, 1, 2);
  const at::Tensor queries =
      all_read ? parts[0] : project(x.narrow(1, 0, readers), 0, 1)[0];
  const at::Tensor mixed =
      at::scaled_dot_product_attention(queries, parts[-2], parts[-1]);
  return layer.attention_output(
      mixed.transpose(1, 2).reshape({batch, readers, width}));
}

at::Tensor VisionTransformer::Logits(const at::Tensor& images) {
  const int64_t batch = images.size(0);
  at::Tensor x = patches_(images).flatten(2).transpose(1, 2);
  x = at::cat({class_token_.expand({batch, 1, x.size(2)}), x}, 1);
  x = Dropout(x.add(positions_), dropout_);
  for (const EncoderLayer& layer : layers_) {
    // Of the last layer only the class token is read.
    const int64_t readers = &layer == &layers_.back() ? 1 : x.size(1);
    const at::Tensor mixed = Attend(layer, layer.attention_norm(x), readers);
    x = x.narrow(1, 0, readers).add(Dropout(mixed, dropout_));
    at::Tensor y = layer.mlp_hidden(layer.mlp_norm(x));
    y = layer.mlp_output(Dropout(at::gelu(y), dropout_));
    x = x.add(Dropout(y, dropout_));
  }
  return head_(norm_(x.select(1, 0)));
}

}  // namespace fedlb::vision_models
