// Small convolutional networks for images such as those of Fashion-MNIST.

#ifndef FEDLB_PLUGINS_MODELS_CNN_H_
#define FEDLB_PLUGINS_MODELS_CNN_H_

#include <memory>

#include <ATen/core/Tensor.h>

#include "absl/status/statusor.h"
#include "fedlb/model.h"
#include "fedlb/param_schema.h"
#include "models/layers.h"

namespace fedlb::models {

struct CnnOptions {
  Initialization initialization = Initialization::kPytorch;
};

// 206,922 parameters for images of 1 x 28 x 28 in 10 classes.
class Cnn final : public Model {
 public:
  using Options = CnnOptions;
  static constexpr char kName[] = "cnn";
  static constexpr char kSummary[] =
      "Two 3x3 convolutions (16 and 32 channels), each with ReLU and 2x2 max "
      "pooling, then a hidden layer of 128.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Cnn>> Create(
      const Options& options, const ComponentContext& context);

 private:
  Cnn(const Options& options, const ComponentContext& context);

  at::Tensor DoForward(const at::Tensor& inputs) override;

  at::Tensor conv1_weight_;
  at::Tensor conv1_bias_;
  at::Tensor conv2_weight_;
  at::Tensor conv2_bias_;
  at::Tensor fc1_weight_;
  at::Tensor fc1_bias_;
  at::Tensor fc2_weight_;
  at::Tensor fc2_bias_;
};

// 47,786 parameters for images of 1 x 28 x 28 in 10 classes.
class CnnStrided final : public Model {
 public:
  using Options = CnnOptions;
  static constexpr char kName[] = "cnn_strided";
  static constexpr char kSummary[] =
      "Three convolutions of stride 2 (5x5 to 16, 3x3 to 32, 3x3 to 32 "
      "channels) with ReLU, then a hidden layer of 64.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<CnnStrided>> Create(
      const Options& options, const ComponentContext& context);

 private:
  CnnStrided(const Options& options, const ComponentContext& context);

  at::Tensor DoForward(const at::Tensor& inputs) override;

  at::Tensor conv1_weight_;
  at::Tensor conv1_bias_;
  at::Tensor conv2_weight_;
  at::Tensor conv2_bias_;
  at::Tensor conv3_weight_;
  at::Tensor conv3_bias_;
  at::Tensor fc1_weight_;
  at::Tensor fc1_bias_;
  at::Tensor fc2_weight_;
  at::Tensor fc2_bias_;
};

}  // namespace fedlb::models

#endif  // FEDLB_PLUGINS_MODELS_CNN_H_
