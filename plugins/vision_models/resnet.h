// The residual networks of ImageNet: ResNet-18, -34, -50 and -101.

#ifndef FEDLB_PLUGINS_VISION_MODELS_RESNET_H_
#define FEDLB_PLUGINS_VISION_MODELS_RESNET_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "fedlb/param_schema.h"
#include "fedlb/status.h"
#include "vision_models/residual_network.h"

namespace fedlb::vision_models {

struct ResNetOptions {
  int64_t width = 64;
  Stem stem = Stem::kAuto;
  bool zero_init_residual = false;
};

ParamSchema<ResNetOptions> ResNetSchema();

// The shape of the network whose stages have that many `blocks`.
absl::StatusOr<ResidualShape> MakeResNetShape(
    absl::string_view model, const std::vector<int64_t>& blocks,
    bool bottleneck, const ResNetOptions& options,
    const ComponentContext& context);

template <typename Depth>
class ResNet final : public ResidualNetwork {
 public:
  using Options = ResNetOptions;
  static constexpr const char* kName = Depth::kName;
  static constexpr const char* kSummary = Depth::kSummary;

  static ParamSchema<Options> Schema() { return ResNetSchema(); }
  static absl::StatusOr<std::unique_ptr<ResNet>> Create(
      const Options& options, const ComponentContext& context) {
    FEDLB_ASSIGN_OR_RETURN(
        const ResidualShape shape,
        MakeResNetShape(kName,
                        {std::begin(Depth::kBlocks), std::end(Depth::kBlocks)},
                        Depth::kBottleneck, options, context));
    return std::make_unique<ResNet>(shape, context);
  }

  using ResidualNetwork::ResidualNetwork;
};

struct Depth18 {
  static constexpr char kName[] = "resnet18";
  static constexpr char kSummary[] =
      "ResNet-18: 4 stages of 2, 2, 2 and 2 residual blocks of two 3x3 "
      "convolutions.";
  static constexpr int64_t kBlocks[] = {2, 2, 2, 2};
  static constexpr bool kBottleneck = false;
};

struct Depth34 {
  static constexpr char kName[] = "resnet34";
  static constexpr char kSummary[] =
      "ResNet-34: 4 stages of 3, 4, 6 and 3 residual blocks of two 3x3 "
      "convolutions.";
  static constexpr int64_t kBlocks[] = {3, 4, 6, 3};
  static constexpr bool kBottleneck = false;
};

struct Depth50 {
  static constexpr char kName[] = "resnet50";
  static constexpr char kSummary[] =
      "ResNet-50: 4 stages of 3, 4, 6 and 3 bottleneck blocks.";
  static constexpr int64_t kBlocks[] = {3, 4, 6, 3};
  static constexpr bool kBottleneck = true;
};

struct Depth101 {
  static constexpr char kName[] = "resnet101";
  static constexpr char kSummary[] =
      "ResNet-101: 4 stages of 3, 4, 23 and 3 bottleneck blocks.";
  static constexpr int64_t kBlocks[] = {3, 4, 23, 3};
  static constexpr bool kBottleneck = true;
};

using ResNet18 = ResNet<Depth18>;
using ResNet34 = ResNet<Depth34>;
using ResNet50 = ResNet<Depth50>;
using ResNet101 = ResNet<Depth101>;

}  // namespace fedlb::vision_models

#endif  // FEDLB_PLUGINS_VISION_MODELS_RESNET_H_
