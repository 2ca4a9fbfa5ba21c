#include "vision_models/cifar_resnet.h"

namespace fedlb::vision_models {

ParamSchema<CifarResNetOptions> CifarResNetSchema() {
  using Options = CifarResNetOptions;
  return ParamSchema<Options>()
      .Add("width", &Options::width, kWidthDescription, InClosed(1, 1024))
      .AddChoice(
          "shortcut", &Options::shortcut,
          {{"pad", Shortcut::kPad}, {"projection", Shortcut::kProjection}},
          "How a block's input reaches its output where the image shrinks: "
          "\"pad\" takes every second pixel and adds channels of zeros after "
          "the others (option A of the paper, no parameters); \"projection\" "
          "is a 1x1 convolution with batch normalisation (option B).");
}

// K. He et al., "Deep Residual Learning for Image Recognition", CVPR 2016,
// section 4.2: 6n + 2 layers, n blocks per stage.
absl::StatusOr<ResidualShape> MakeCifarResNetShape(
    absl::string_view model, int64_t blocks, const CifarResNetOptions& options,
    const ComponentContext& context) {
  FEDLB_RETURN_IF_ERROR(CheckImages(model, /*min_side=*/1, context));
  ResidualShape shape;
  shape.stem = {.inputs = context.example_shape[0],
                .outputs = options.width,
                .kernel = 3,
                .padding = 1};
  shape.blocks = {blocks, blocks, blocks};
  shape.width = options.width;
  shape.shortcut = options.shortcut;
  return shape;
}

}  // namespace fedlb::vision_models
