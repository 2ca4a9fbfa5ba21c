// The frame of all residual networks: stem, stages of residual blocks, average
// pooling, one linear layer.

#ifndef FEDLB_PLUGINS_VISION_MODELS_RESIDUAL_NETWORK_H_
#define FEDLB_PLUGINS_VISION_MODELS_RESIDUAL_NETWORK_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "vision_models/vision_model.h"

namespace fedlb::vision_models {

// How the input of a block reaches its output where sizes differ: the options
// A and B of K. He et al., "Deep Residual Learning", CVPR 2016, section 4.1.
enum class Shortcut {
  kPad,         // every second pixel, zeros for the channels that are missing
  kProjection,  // 1x1 convolution with batch normalisation
};

inline constexpr char kWidthDescription[] =
    "Channels of the first stage; each further stage has twice as many.";

struct ResidualShape {
  ConvShape stem;
  bool stem_pooling = false;  // 3x3, every second pixel
  // Per stage. Every stage but the first halves the image.
  std::vector<int64_t> blocks;
  // Channels of the 3x3 convolutions in the first stage; each further stage has
  // twice as many.
  int64_t width = 0;
  // A block is 1x1, 3x3 and a widening 1x1 convolution instead of two 3x3.
  bool bottleneck = false;
  Shortcut shortcut = Shortcut::kProjection;
  // Every block starts as the identity (P. Goyal et al., arXiv 1706.02677,
  // section 5.1).
  bool zero_init_residual = false;
};

// A convolution without bias and the batch normalisation of what it gives.
struct ConvNorm {
  Conv conv;
  BatchNorm norm;

  at::Tensor operator()(const at::Tensor& x, bool training) const {
    return norm(conv(x), training);
  }
};

class ResidualNetwork : public VisionModel {
 public:
  ResidualNetwork(const ResidualShape& shape, const ComponentContext& context);

 private:
  struct Block {
    std::vector<ConvNorm> branch;  // with ReLU between them
    std::optional<ConvNorm> projection;
    // Of a padding shortcut; without effect at 1 and 0.
    int64_t stride = 1;
    int64_t added_channels = 0;

    at::Tensor operator()(const at::Tensor& x, bool training) const;
    at::Tensor ShortcutOf(const at::Tensor& x, bool training) const;
  };

  ConvNorm AddConvNorm(const std::string& conv_name,
                       const std::string& norm_name, ConvShape shape,
                       double initial_weight = 1);
  void AddBlock(const std::string& name, const ResidualShape& shape,
                int64_t width, int64_t stride);

  at::Tensor Logits(const at::Tensor& images) override;

  const bool stem_pooling_;
  int64_t channels_;  // that the next layer receives, while layers are added
  ConvNorm stem_;
  std::vector<Block> blocks_;
  Linear fc_;
};

}  // namespace fedlb::vision_models

#endif  // FEDLB_PLUGINS_VISION_MODELS_RESIDUAL_NETWORK_H_
