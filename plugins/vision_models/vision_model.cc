#include "vision_models/vision_model.h"

#include <algorithm>
#include <cmath>

#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "fedlb/random.h"
#include "fedlb/status.h"

namespace fedlb::vision_models {
namespace {

constexpr int64_t kLongestCifarSide = 64;

}  // namespace

std::vector<std::pair<std::string, Stem>> StemChoices() {
  return {{"auto", Stem::kAuto},
          {"imagenet", Stem::kImagenet},
          {"cifar", Stem::kCifar}};
}

Stem ResolveStem(Stem stem, const ComponentContext& context) {
  if (stem != Stem::kAuto) {
    return stem;
  }
  const std::vector<int64_t>& shape = context.example_shape;
  return shape.size() == 3 && std::min(shape[1], shape[2]) <= kLongestCifarSide
             ? Stem::kCifar
             : Stem::kImagenet;
}

absl::Status CheckImages(absl::string_view model, int64_t min_side,
                         const ComponentContext& context) {
  if (context.num_classes < 1) {
    return ConfigError(
        absl::StrCat("model ", model, " needs a dataset with classes"));
  }
  const std::vector<int64_t>& shape = context.example_shape;
  if (shape.size() != 3 || shape[0] < 1 || shape[1] < min_side ||
      shape[2] < min_side) {
    return ConfigError(absl::StrCat(
        "model ", model,
        " needs images [channels, height, width] with sides of at least ",
        min_side, ", the dataset has [", absl::StrJoin(shape, ", "), "]"));
  }
  return absl::OkStatus();
}

VisionModel::VisionModel(const ComponentContext& context)
    : context_(context), forward_seed_(context.seed) {}

void VisionModel::SeedForward(uint64_t seed) {
  forward_seed_ = seed;
  num_masks_ = 0;
}

at::Tensor VisionModel::AddDrawn(const std::string& name,
                                 const std::vector<int64_t>& sizes,
                                 const Distribution& values) {
  return AddParameter(name, Draw(values, name, sizes, context_));
}

Conv VisionModel::AddConv(const std::string& name, const ConvShape& shape,
                          const Distribution& weight,
                          const Distribution& bias) {
  Conv conv;
  conv.weight = AddDrawn(
      name + ".weight",
      {shape.outputs, shape.inputs, shape.kernel, shape.kernel}, weight);
  if (shape.bias) {
    conv.bias = AddDrawn(name + ".bias", {shape.outputs}, bias);
  }
  conv.stride = {shape.stride, shape.stride};
  conv.padding = {shape.padding, shape.padding};
  return conv;
}

Linear VisionModel::AddLinear(const std::string& name, int64_t inputs,
                              int64_t outputs, const Distribution& weight,
                              const Distribution& bias) {
  Linear linear;
  linear.weight = AddDrawn(name + ".weight", {outputs, inputs}, weight);
  linear.bias = AddDrawn(name + ".bias", {outputs}, bias);
  return linear;
}

Conv VisionModel::AddConv(const std::string& name, const ConvShape& shape) {
  const Distribution values = PytorchDefault(shape.fan_in());
  return AddConv(name, shape, values, values);
}

Linear VisionModel::AddLinear(const std::string& name, int64_t inputs,
                              int64_t outputs) {
  const Distribution values = PytorchDefault(inputs);
  return AddLinear(name, inputs, outputs, values, values);
}

BatchNorm VisionModel::AddBatchNorm(const std::string& name, int64_t channels,
                                    double initial_weight) {
  const auto options =
      at::TensorOptions().dtype(context_.dtype).device(context_.device);
  BatchNorm norm;
  norm.weight =
      AddDrawn(name + ".weight", {channels}, Constant(initial_weight));
  norm.bias = AddDrawn(name + ".bias", {channels}, Constant(0));
  norm.running_mean =
      AddBuffer(name + ".running_mean", at::zeros({channels}, options));
  norm.running_var =
      AddBuffer(name + ".running_var", at::ones({channels}, options));
  return norm;
}

LayerNorm VisionModel::AddLayerNorm(const std::string& name, int64_t width) {
  LayerNorm norm;
  norm.weight = AddDrawn(name + ".weight", {width}, Constant(1));
  norm.bias = AddDrawn(name + ".bias", {width}, Constant(0));
  return norm;
}

at::Tensor VisionModel::Dropout(const at::Tensor& x, double rate) {
  if (!training() || rate == 0) {
    return x;
  }
  RandomStream random(
      {.seed = forward_seed_, .purpose = "dropout", .step = num_masks_++});
  const auto dropped = static_cast<uint64_t>(std::ldexp(rate, 64));
  at::Tensor kept = at::empty(x.sizes(), at::kBool);
  bool* const data = kept.mutable_data_ptr<bool>();
  for (int64_t i = 0; i < kept.numel(); ++i) {
    data[i] = random() >= dropped;
  }
  // The backward pass keeps the mask, a byte per element.
  return x.mul(kept.to(x.device())).mul_(1 / (1 - rate));
}

at::Tensor VisionModel::DoForward(const at::Tensor& inputs) {
  TORCH_CHECK(inputs.dim() == 4 && inputs.sizes().slice(1) ==
                                       at::IntArrayRef(context_.example_shape),
              "the model was made for images [",
              absl::StrJoin(context_.example_shape, ", "),
              "] and got a batch of shape [",
              absl::StrJoin(inputs.sizes(), ", "), "]");
  return Logits(inputs);
}

}  // namespace fedlb::vision_models
