#include "vision_models/residual_network.h"

#include <cstddef>

#include <ATen/ops/constant_pad_nd.h>

#include "absl/strings/str_cat.h"

namespace fedlb::vision_models {
namespace {

constexpr int64_t kBottleneckExpansion = 4;

}  // namespace

ResidualNetwork::ResidualNetwork(const ResidualShape& shape,
                                 const ComponentContext& context)
    : VisionModel(context),
      stem_pooling_(shape.stem_pooling),
      channels_(shape.stem.outputs) {
  stem_ = AddConvNorm("conv1", "bn1", shape.stem);
  for (size_t stage = 0; stage < shape.blocks.size(); ++stage) {
    for (int64_t block = 0; block < shape.blocks[stage]; ++block) {
      AddBlock(absl::StrCat("layer", stage + 1, ".", block), shape,
               shape.width << stage, stage > 0 && block == 0 ? 2 : 1);
    }
  }
  fc_ = AddLinear("fc", channels_, context.num_classes);
}

ConvNorm ResidualNetwork::AddConvNorm(const std::string& conv_name,
                                      const std::string& norm_name,
                                      ConvShape shape, double initial_weight) {
  shape.bias = false;
  ConvNorm layer;
  layer.conv =
      AddConv(conv_name, shape, HeFanOut(shape.fan_out()), Constant(0));
  layer.norm = AddBatchNorm(norm_name, shape.outputs, initial_weight);
  return layer;
}

// K. He et al., "Deep Residual Learning for Image Recognition", CVPR 2016,
// Figure 5. The stride of a bottleneck is that of its 3x3 convolution, as in
// torchvision, and not of its first one.
void ResidualNetwork::AddBlock(const std::string& name,
                               const ResidualShape& shape, int64_t width,
                               int64_t stride) {
  const int64_t inputs = channels_;
  const ConvShape wide = {.kernel = 3, .stride = 1, .padding = 1};
  std::vector<ConvShape> branch;
  if (shape.bottleneck) {
    branch = {ConvShape{.outputs = width}, wide,
              ConvShape{.outputs = kBottleneckExpansion * width}};
    branch[1].stride = stride;
  } else {
    branch = {wide, wide};
    branch[0].stride = stride;
  }
  Block block;
  for (size_t i = 0; i < branch.size(); ++i) {
    ConvShape& conv = branch[i];
    conv.inputs = channels_;
    conv.outputs = conv.outputs > 0 ? conv.outputs : width;
    channels_ = conv.outputs;
    const bool last = i + 1 == branch.size();
    block.branch.push_back(AddConvNorm(
        absl::StrCat(name, ".conv", i + 1), absl::StrCat(name, ".bn", i + 1),
        conv, last && shape.zero_init_residual ? 0 : 1));
  }
  if (stride != 1 || inputs != channels_) {
    if (shape.shortcut == Shortcut::kProjection) {
      block.projection = AddConvNorm(
          name + ".downsample.0", name + ".downsample.1",
          {.inputs = inputs, .outputs = channels_, .stride = stride});
    } else {
      block.stride = stride;
      block.added_channels = channels_ - inputs;
    }
  }
  blocks_.push_back(std::move(block));
}

at::Tensor ResidualNetwork::Block::operator()(const at::Tensor& x,
                                              bool training) const {
  at::Tensor y = branch.front()(x, training);
  for (size_t i = 1; i < branch.size(); ++i) {
    y = branch[i](y.relu_(), training);
  }
  return y.add_(ShortcutOf(x, training)).relu_();
}

at::Tensor ResidualNetwork::Block::ShortcutOf(const at::Tensor& x,
                                              bool training) const {
  if (projection.has_value()) {
    return (*projection)(x, training);
  }
  if (stride == 1 && added_channels == 0) {
    return x;
  }
  const at::Tensor pixels =
      x.slice(2, 0, x.size(2), stride).slice(3, 0, x.size(3), stride);
  return at::constant_pad_nd(pixels, {0, 0, 0, 0, 0, added_channels});
}

at::Tensor ResidualNetwork::Logits(const at::Tensor& images) {
  // On CPUs convolutions and batch normalisation are up to a quarter faster
  // when the channels of a pixel lie together. clone() sees to that for one
  // channel too, where contiguous() finds nothing to do.
  const at::Tensor pixels =
      images.is_cpu() ? images.clone(at::MemoryFormat::ChannelsLast) : images;
  at::Tensor x = stem_(pixels, training()).relu_();
  if (stem_pooling_) {
    x = MaxPool(x, 3, 2, /*padding=*/1);
  }
  for (const Block& block : blocks_) {
    x = block(x, training());
  }
  return fc_(AveragePoolTo(x, 1).flatten(1));
}

}  // namespace fedlb::vision_models
