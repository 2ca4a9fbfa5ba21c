#include "vision_models/lenet5.h"

#include <algorithm>
#include <cstdint>

#include <ATen/ops/avg_pool2d.h>

#include "fedlb/status.h"

namespace fedlb::vision_models {
namespace {

// The original centred digits of 28 x 28 in fields of 32 x 32.
constexpr int64_t kFieldSide = 32;

int64_t FirstPadding(const ComponentContext& context) {
  return std::min(context.example_shape[1], context.example_shape[2]) <
                 kFieldSide
             ? 2
             : 0;
}

// The side of what the first linear layer sees.
int64_t LastSide(int64_t side, int64_t padding) {
  return ((side + 2 * padding - 4) / 2 - 4) / 2;
}

}  // namespace

ParamSchema<Lenet5Options> Lenet5::Schema() {
  using Activation = Lenet5Options::Activation;
  using Pooling = Lenet5Options::Pooling;
  return ParamSchema<Options>()
      .AddChoice("activation", &Options::activation,
                 {{"relu", Activation::kRelu}, {"tanh", Activation::kTanh}},
                 "Function after every layer but the last: \"relu\", or "
                 "\"tanh\" as in the original of 1998.")
      .AddChoice("pooling", &Options::pooling,
                 {{"max", Pooling::kMax}, {"average", Pooling::kAverage}},
                 "How 2x2 pixels become one: their largest, or \"average\" as "
                 "in the original.");
}

absl::StatusOr<std::unique_ptr<Lenet5>> Lenet5::Create(
    const Options& options, const ComponentContext& context) {
  // A smaller side does not outlast both convolutions and poolings.
  FEDLB_RETURN_IF_ERROR(CheckImages(kName, /*min_side=*/12, context));
  return std::unique_ptr<Lenet5>(new Lenet5(options, context));
}

// Y. LeCun et al., "Gradient-Based Learning Applied to Document Recognition",
// Proceedings of the IEEE 86, 1998, section II. Deviations: every map of the
// second convolution sees all maps of the first; pooling has no weights; the
// output is a linear layer of logits instead of radial basis functions; tanh is
// not scaled; images with a side below 32 are padded by 2 in the first layer.
Lenet5::Lenet5(const Options& options, const ComponentContext& context)
    : VisionModel(context), options_(options) {
  const std::vector<int64_t>& shape = context.example_shape;
  const int64_t padding = FirstPadding(context);
  conv1_ = AddConv(
      "conv1",
      {.inputs = shape[0], .outputs = 6, .kernel = 5, .padding = padding});
  conv2_ = AddConv("conv2", {.inputs = 6, .outputs = 16, .kernel = 5});
  fc1_ = AddLinear(
      "fc1", 16 * LastSide(shape[1], padding) * LastSide(shape[2], padding),
      120);
  fc2_ = AddLinear("fc2", 120, 84);
  fc3_ = AddLinear("fc3", 84, context.num_classes);
}

at::Tensor Lenet5::Activate(at::Tensor x) const {
  return options_.activation == Options::Activation::kRelu ? x.relu_()
                                                           : x.tanh_();
}

at::Tensor Lenet5::Pool(const at::Tensor& x) const {
  return options_.pooling == Options::Pooling::kMax ? MaxPool(x, 2, 2)
                                                    : at::avg_pool2d(x, 2, 2);
}

at::Tensor Lenet5::Logits(const at::Tensor& images) {
  at::Tensor x = Pool(Activate(conv1_(images)));
  x = Pool(Activate(conv2_(x)));
  x = Activate(fc1_(x.flatten(1)));
  return fc3_(Activate(fc2_(x)));
}

}  // namespace fedlb::vision_models
