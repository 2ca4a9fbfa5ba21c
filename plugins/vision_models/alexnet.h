// AlexNet in its form for one device.

#ifndef FEDLB_PLUGINS_VISION_MODELS_ALEXNET_H_
#define FEDLB_PLUGINS_VISION_MODELS_ALEXNET_H_

#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>

#include "absl/status/statusor.h"
#include "fedlb/param_schema.h"
#include "vision_models/vision_model.h"

namespace fedlb::vision_models {

struct AlexNetOptions {
  Stem stem = Stem::kAuto;
  double dropout = 0.5;
};

class AlexNet final : public VisionModel {
 public:
  using Options = AlexNetOptions;
  static constexpr char kName[] = "alexnet";
  static constexpr char kSummary[] =
      "AlexNet: 5 convolutions with 3 overlapping max poolings, then 3 linear "
      "layers.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<AlexNet>> Create(
      const Options& options, const ComponentContext& context);

 private:
  AlexNet(const Options& options, const ComponentContext& context);

  at::Tensor Logits(const at::Tensor& images) override;
  at::Tensor Pool(const at::Tensor& x) const;

  const double dropout_;
  const bool imagenet_;
  std::vector<Conv> features_;
  std::vector<Linear> classifier_;
};

}  // namespace fedlb::vision_models

#endif  // FEDLB_PLUGINS_VISION_MODELS_ALEXNET_H_
