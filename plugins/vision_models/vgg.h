// The networks of the Visual Geometry Group: VGG-11 and VGG-16.

#ifndef FEDLB_PLUGINS_VISION_MODELS_VGG_H_
#define FEDLB_PLUGINS_VISION_MODELS_VGG_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include <ATen/core/Tensor.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "fedlb/param_schema.h"
#include "fedlb/status.h"
#include "vision_models/vision_model.h"

namespace fedlb::vision_models {

struct VggOptions {
  Stem stem = Stem::kAuto;
  bool batch_norm = false;
  double dropout = 0.5;
};

// Five stages of 64, 128, 256, 512 and 512 channels, max pooling behind each,
// and three linear layers.
class VggNetwork : public VisionModel {
 public:
  // `convolutions` counts the 3x3 convolutions of each stage.
  VggNetwork(const std::vector<int64_t>& convolutions,
             const VggOptions& options, const ComponentContext& context);

  static ParamSchema<VggOptions> Schema();
  static absl::Status Check(absl::string_view model, const VggOptions& options,
                            const ComponentContext& context);

 private:
  struct Feature {
    Conv conv;
    std::optional<BatchNorm> norm;
    bool pooling = false;  // behind it
  };

  at::Tensor Logits(const at::Tensor& images) override;

  const double dropout_;
  const bool imagenet_;
  std::vector<Feature> features_;
  std::vector<Linear> classifier_;
};

template <typename Depth>
class Vgg final : public VggNetwork {
 public:
  using Options = VggOptions;
  static constexpr const char* kName = Depth::kName;
  static constexpr const char* kSummary = Depth::kSummary;

  static absl::StatusOr<std::unique_ptr<Vgg>> Create(
      const Options& options, const ComponentContext& context) {
    FEDLB_RETURN_IF_ERROR(Check(kName, options, context));
    return std::make_unique<Vgg>(
        std::vector<int64_t>(std::begin(Depth::kConvolutions),
                             std::end(Depth::kConvolutions)),
        options, context);
  }

  using VggNetwork::VggNetwork;
};

struct VggDepth11 {
  static constexpr char kName[] = "vgg11";
  static constexpr char kSummary[] =
      "VGG-11: 8 convolutions of 3x3 in 5 stages, then 3 linear layers.";
  static constexpr int64_t kConvolutions[] = {1, 1, 2, 2, 2};
};

struct VggDepth16 {
  static constexpr char kName[] = "vgg16";
  static constexpr char kSummary[] =
      "VGG-16: 13 convolutions of 3x3 in 5 stages, then 3 linear layers.";
  static constexpr int64_t kConvolutions[] = {2, 2, 3, 3, 3};
};

using Vgg11 = Vgg<VggDepth11>;
using Vgg16 = Vgg<VggDepth16>;

}  // namespace fedlb::vision_models

#endif  // FEDLB_PLUGINS_VISION_MODELS_VGG_H_
