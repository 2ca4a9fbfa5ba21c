#include "models/cnn.h"

#include <array>
#include <cstdint>

#include <ATen/ops/conv2d.h>

#include "fedlb/linear.h"
#include "fedlb/status.h"
#include "models/conv_relu_pool.h"

namespace fedlb::models {
namespace {

constexpr std::array<int64_t, 2> kOne = {1, 1};
constexpr std::array<int64_t, 2> kTwo = {2, 2};

// The side of the image behind a convolution of stride 2 with a kernel of
// 2 * padding + 1.
int64_t Halved(int64_t side) { return (side + 1) / 2; }

}  // namespace

ParamSchema<CnnOptions> Cnn::Schema() {
  return ParamSchema<Options>().AddChoice(
      "initialization", &Options::initialization, InitializationChoices(),
      kInitDescription);
}

absl::StatusOr<std::unique_ptr<Cnn>> Cnn::Create(
    const Options& options, const ComponentContext& context) {
  // Two poolings leave nothing of a smaller side.
  FEDLB_RETURN_IF_ERROR(CheckImages(kName, /*min_side=*/4, context));
  return std::unique_ptr<Cnn>(new Cnn(options, context));
}

Cnn::Cnn(const Options& options, const ComponentContext& context) {
  const int64_t channels = context.example_shape[0];
  const int64_t pooled_size =
      (context.example_shape[1] / 4) * (context.example_shape[2] / 4);
  LayerInitializer init(options.initialization, context);
  conv1_weight_ =
      AddParameter("conv1.weight", init.Weight({16, channels, 3, 3}));
  conv1_bias_ = AddParameter("conv1.bias", init.Bias());
  conv2_weight_ = AddParameter("conv2.weight", init.Weight({32, 16, 3, 3}));
  conv2_bias_ = AddParameter("conv2.bias", init.Bias());
  fc1_weight_ =
      AddParameter("fc1.weight", init.Weight({128, 32 * pooled_size}));
  fc1_bias_ = AddParameter("fc1.bias", init.Bias());
  fc2_weight_ =
      AddParameter("fc2.weight", init.Weight({context.num_classes, 128}));
  fc2_bias_ = AddParameter("fc2.bias", init.Bias());
}

at::Tensor Cnn::DoForward(const at::Tensor& inputs) {
  at::Tensor x = ConvReluPool(inputs, conv1_weight_, conv1_bias_);
  x = ConvReluPool(x, conv2_weight_, conv2_bias_);
  x = ApplyLinear(x.flatten(1), fc1_weight_, fc1_bias_).relu_();
  return ApplyLinear(x, fc2_weight_, fc2_bias_);
}

ParamSchema<CnnOptions> CnnStrided::Schema() { return Cnn::Schema(); }

absl::StatusOr<std::unique_ptr<CnnStrided>> CnnStrided::Create(
    const Options& options, const ComponentContext& context) {
  FEDLB_RETURN_IF_ERROR(CheckImages(kName, /*min_side=*/1, context));
  return std::unique_ptr<CnnStrided>(new CnnStrided(options, context));
}

CnnStrided::CnnStrided(const Options& options,
                       const ComponentContext& context) {
  const int64_t channels = context.example_shape[0];
  const int64_t last_size = Halved(Halved(Halved(context.example_shape[1]))) *
                            Halved(Halved(Halved(context.example_shape[2])));
  LayerInitializer init(options.initialization, context);
  conv1_weight_ =
      AddParameter("conv1.weight", init.Weight({16, channels, 5, 5}));
  conv1_bias_ = AddParameter("conv1.bias", init.Bias());
  conv2_weight_ = AddParameter("conv2.weight", init.Weight({32, 16, 3, 3}));
  conv2_bias_ = AddParameter("conv2.bias", init.Bias());
  conv3_weight_ = AddParameter("conv3.weight", init.Weight({32, 32, 3, 3}));
  conv3_bias_ = AddParameter("conv3.bias", init.Bias());
  fc1_weight_ = AddParameter("fc1.weight", init.Weight({64, 32 * last_size}));
  fc1_bias_ = AddParameter("fc1.bias", init.Bias());
  fc2_weight_ =
      AddParameter("fc2.weight", init.Weight({context.num_classes, 64}));
  fc2_bias_ = AddParameter("fc2.bias", init.Bias());
}

at::Tensor CnnStrided::DoForward(const at::Tensor& inputs) {
  at::Tensor x = at::conv2d(inputs, conv1_weight_, conv1_bias_, kTwo, kTwo);
  x = at::conv2d(x.relu_(), conv2_weight_, conv2_bias_, kTwo, kOne);
  x = at::conv2d(x.relu_(), conv3_weight_, conv3_bias_, kTwo, kOne);
  x = ApplyLinear(x.relu_().flatten(1), fc1_weight_, fc1_bias_).relu_();
  return ApplyLinear(x, fc2_weight_, fc2_bias_);
}

}  // namespace fedlb::models
