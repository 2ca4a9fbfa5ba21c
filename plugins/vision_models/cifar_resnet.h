// The residual networks of CIFAR: ResNet-8 and ResNet-20.

#ifndef FEDLB_PLUGINS_VISION_MODELS_CIFAR_RESNET_H_
#define FEDLB_PLUGINS_VISION_MODELS_CIFAR_RESNET_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "fedlb/param_schema.h"
#include "fedlb/status.h"
#include "vision_models/residual_network.h"

namespace fedlb::vision_models {

struct CifarResNetOptions {
  int64_t width = 16;
  Shortcut shortcut = Shortcut::kPad;
};

ParamSchema<CifarResNetOptions> CifarResNetSchema();

// The shape of the network with that many blocks per stage.
absl::StatusOr<ResidualShape> MakeCifarResNetShape(
    absl::string_view model, int64_t blocks, const CifarResNetOptions& options,
    const ComponentContext& context);

template <typename Depth>
class CifarResNet final : public ResidualNetwork {
 public:
  using Options = CifarResNetOptions;
  static constexpr const char* kName = Depth::kName;
  static constexpr const char* kSummary = Depth::kSummary;

  static ParamSchema<Options> Schema() { return CifarResNetSchema(); }
  static absl::StatusOr<std::unique_ptr<CifarResNet>> Create(
      const Options& options, const ComponentContext& context) {
    FEDLB_ASSIGN_OR_RETURN(
        const ResidualShape shape,
        MakeCifarResNetShape(kName, Depth::kBlocks, options, context));
    return std::make_unique<CifarResNet>(shape, context);
  }

  using ResidualNetwork::ResidualNetwork;
};

struct CifarDepth8 {
  static constexpr char kName[] = "resnet8";
  static constexpr char kSummary[] =
      "ResNet-8 for small images: 3 stages of one residual block.";
  static constexpr int64_t kBlocks = 1;
};

struct CifarDepth20 {
  static constexpr char kName[] = "resnet20";
  static constexpr char kSummary[] =
      "ResNet-20 for small images: 3 stages of three residual blocks.";
  static constexpr int64_t kBlocks = 3;
};

using ResNet8 = CifarResNet<CifarDepth8>;
using ResNet20 = CifarResNet<CifarDepth20>;

}  // namespace fedlb::vision_models

#endif  // FEDLB_PLUGINS_VISION_MODELS_CIFAR_RESNET_H_
