// LeNet-5, the network that read digits.

#ifndef FEDLB_PLUGINS_VISION_MODELS_LENET5_H_
#define FEDLB_PLUGINS_VISION_MODELS_LENET5_H_

#include <memory>

#include <ATen/core/Tensor.h>

#include "absl/status/statusor.h"
#include "fedlb/param_schema.h"
#include "vision_models/vision_model.h"

namespace fedlb::vision_models {

struct Lenet5Options {
  enum class Activation { kRelu, kTanh };
  enum class Pooling { kMax, kAverage };

  Activation activation = Activation::kRelu;
  Pooling pooling = Pooling::kMax;
};

// 61,706 parameters for images of 1 x 28 x 28 or 1 x 32 x 32 in 10 classes.
class Lenet5 final : public VisionModel {
 public:
  using Options = Lenet5Options;
  static constexpr char kName[] = "lenet5";
  static constexpr char kSummary[] =
      "LeNet-5: 5x5 convolutions to 6 and 16 channels, each with 2x2 pooling, "
      "then layers of 120 and 84.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Lenet5>> Create(
      const Options& options, const ComponentContext& context);

 private:
  Lenet5(const Options& options, const ComponentContext& context);

  at::Tensor Logits(const at::Tensor& images) override;
  at::Tensor Activate(at::Tensor x) const;
  at::Tensor Pool(const at::Tensor& x) const;

  const Options options_;
  Conv conv1_;
  Conv conv2_;
  Linear fc1_;
  Linear fc2_;
  Linear fc3_;
};

}  // namespace fedlb::vision_models

#endif  // FEDLB_PLUGINS_VISION_MODELS_LENET5_H_
