// Vision transformers: ViT-B/16 and ViT-Tiny.

#ifndef FEDLB_PLUGINS_VISION_MODELS_VIT_H_
#define FEDLB_PLUGINS_VISION_MODELS_VIT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "fedlb/param_schema.h"
#include "fedlb/status.h"
#include "vision_models/vision_model.h"

namespace fedlb::vision_models {

struct VitOptions {
  Stem stem = Stem::kAuto;
  double dropout = 0;
};

struct VitShape {
  int64_t width = 0;  // of a token
  int64_t depth = 0;  // encoder layers
  int64_t heads = 0;
  int64_t mlp_width = 0;
};

class VisionTransformer : public VisionModel {
 public:
  VisionTransformer(const VitShape& shape, const VitOptions& options,
                    const ComponentContext& context);

  static ParamSchema<VitOptions> Schema();
  static absl::Status Check(absl::string_view model, const VitOptions& options,
                            const ComponentContext& context);

 private:
  struct EncoderLayer {
    LayerNorm attention_norm;
    Linear attention_input;  // queries, keys and values of all heads
    Linear attention_output;
    LayerNorm mlp_norm;
    Linear mlp_hidden;
    Linear mlp_output;
  };

  void AddEncoderLayer(const std::string& name, const VitShape& shape);
  // What the first `readers` tokens of x [batch, tokens, width] read from all.
  at::Tensor Attend(const EncoderLayer& layer, const at::Tensor& x,
                    int64_t readers) const;

  at::Tensor Logits(const at::Tensor& images) override;

  const int64_t heads_;
  const double dropout_;
  at::Tensor class_token_;
  Conv patches_;
  at::Tensor positions_;
  std::vector<EncoderLayer> layers_;
  LayerNorm norm_;
  Linear head_;
};

template <typename Size>
class Vit final : public VisionTransformer {
 public:
  using Options = VitOptions;
  static constexpr const char* kName = Size::kName;
  static constexpr const char* kSummary = Size::kSummary;

  static absl::StatusOr<std::unique_ptr<Vit>> Create(
      const Options& options, const ComponentContext& context) {
    FEDLB_RETURN_IF_ERROR(Check(kName, options, context));
    return std::make_unique<Vit>(Size::kShape, options, context);
  }

  using VisionTransformer::VisionTransformer;
};

struct VitSizeBase {
  static constexpr char kName[] = "vit_b_16";
  static constexpr char kSummary[] =
      "Vision transformer ViT-B/16: tokens of 768, 12 layers of 12 heads.";
  static constexpr VitShape kShape = {
      .width = 768, .depth = 12, .heads = 12, .mlp_width = 3072};
};

// H. Touvron et al., "Training data-efficient image transformers", ICML 2021,
// Table 1.
struct VitSizeTiny {
  static constexpr char kName[] = "vit_tiny";
  static constexpr char kSummary[] =
      "Small vision transformer: tokens of 192, 12 layers of 3 heads.";
  static constexpr VitShape kShape = {
      .width = 192, .depth = 12, .heads = 3, .mlp_width = 768};
};

using VitB16 = Vit<VitSizeBase>;
using VitTiny = Vit<VitSizeTiny>;

}  // namespace fedlb::vision_models

#endif  // FEDLB_PLUGINS_VISION_MODELS_VIT_H_
