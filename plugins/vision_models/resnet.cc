#include "vision_models/resnet.h"

namespace fedlb::vision_models {

ParamSchema<ResNetOptions> ResNetSchema() {
  using Options = ResNetOptions;
  return ParamSchema<Options>()
      .Add("width", &Options::width, kWidthDescription, InClosed(1, 1024))
      .AddChoice(
          "stem", &Options::stem, StemChoices(),
          "First layers. \"imagenet\": 7x7 convolution of stride 2 and 3x3 max "
          "pooling, names and shapes as in torchvision; it takes images of any "
          "size and shrinks them 32-fold. \"cifar\": 3x3 convolution of stride "
          "1 without pooling, which shrinks them 8-fold. \"auto\": \"cifar\" "
          "for sides up to 64.")
      .Add("zero_init_residual", &Options::zero_init_residual,
           "Start the last normalisation of every block at 0, so that the "
           "block starts as the identity (Goyal et al., 2017).");
}

// K. He et al., "Deep Residual Learning for Image Recognition", CVPR 2016,
// Table 1.
absl::StatusOr<ResidualShape> MakeResNetShape(
    absl::string_view model, const std::vector<int64_t>& blocks,
    bool bottleneck, const ResNetOptions& options,
    const ComponentContext& context) {
  FEDLB_RETURN_IF_ERROR(CheckImages(model, /*min_side=*/1, context));
  const bool imagenet = ResolveStem(options.stem, context) == Stem::kImagenet;
  ResidualShape shape;
  shape.stem = {.inputs = context.example_shape[0],
                .outputs = options.width,
                .kernel = imagenet ? 7 : 3,
                .stride = imagenet ? 2 : 1,
                .padding = imagenet ? 3 : 1};
  shape.stem_pooling = imagenet;
  shape.blocks = blocks;
  shape.width = options.width;
  shape.bottleneck = bottleneck;
  shape.shortcut = Shortcut::kProjection;
  shape.zero_init_residual = options.zero_init_residual;
  return shape;
}

}  // namespace fedlb::vision_models
