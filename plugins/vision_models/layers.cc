#include "vision_models/layers.h"

#include <ATen/ops/adaptive_avg_pool2d.h>
#include <ATen/ops/batch_norm.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/max_pool2d.h>
#include <c10/util/Exception.h>

#include "fedlb/linear.h"

namespace fedlb::vision_models {
namespace {

constexpr double kBatchNormMomentum = 0.1;
constexpr double kBatchNormEpsilon = 1e-5;
constexpr double kLayerNormEpsilon = 1e-6;

}  // namespace

at::Tensor Conv::operator()(const at::Tensor& x) const {
  return at::conv2d(x, weight, bias, stride, padding);
}

at::Tensor Linear::operator()(const at::Tensor& x) const {
  return ApplyLinear(x, weight, bias);
}

at::Tensor BatchNorm::operator()(const at::Tensor& x, bool training) const {
  TORCH_CHECK(!training || x.size(0) * x.size(2) * x.size(3) > 1,
              "batch normalisation finds one value per channel in this batch "
              "and needs two to train; use batches of more than one example");
  return at::batch_norm(x, weight, bias, running_mean, running_var, training,
                        kBatchNormMomentum, kBatchNormEpsilon,
                        /*cudnn_enabled=*/true);
}

at::Tensor LayerNorm::operator()(const at::Tensor& x) const {
  return at::layer_norm(x, weight.sizes(), weight, bias, kLayerNormEpsilon);
}

at::Tensor MaxPool(const at::Tensor& x, int64_t size, int64_t stride,
                   int64_t padding, bool round_up) {
  return at::max_pool2d(x, size, stride, padding, /*dilation=*/1, round_up);
}

at::Tensor AveragePoolTo(const at::Tensor& x, int64_t side) {
  return at::adaptive_avg_pool2d(x, {side, side});
}

at::Tensor LinearOnPool(const Linear& linear, const at::Tensor& x,
                        int64_t side) {
  const int64_t cells = side * side;
  const int64_t pixels = x.size(2) * x.size(3);
  // For each channel and output pooling the weights costs cells * pixels
  // multiplications, and saves cells - pixels in every example.
  if (cells * pixels >= x.size(0) * (cells - pixels)) {
    return linear(AveragePoolTo(x, side).flatten(1));
  }
  const at::Tensor one_hot =
      at::eye(pixels, x.options()).view({pixels, 1, x.size(2), x.size(3)});
  // [cells, pixels]: the share that a cell has of a pixel.
  const at::Tensor shares = AveragePoolTo(one_hot, side).flatten(1).t();
  const int64_t outputs = linear.weight.size(0);
  const at::Tensor weight =
      linear.weight.view({-1, cells}).matmul(shares).view({outputs, -1});
  return ApplyLinear(x.flatten(1), weight, linear.bias);
}

}  // namespace fedlb::vision_models
