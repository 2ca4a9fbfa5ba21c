#include "piece_autoencoder.h"

#include <algorithm>
#include <cmath>

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/stack.h>

namespace fedlb::teacher {
namespace {

constexpr double kSmallestRms = 1e-20;

}  // namespace

ParamSchema<PieceAutoencoderOptions> PieceAutoencoder::Schema() {
  return WithFitOptions(
      ParamSchema<Options>()
          .Add("piece_size", &Options::piece_size, "Elements of a piece.",
               InClosed(1, 65536))
          .Add("hidden", &Options::hidden,
               "Width of the layers before and after the code.",
               InClosed(1, 4096))
          .Add("code", &Options::code, "Width of the bottleneck.",
               InClosed(1, 4096)));
}

absl::StatusOr<std::unique_ptr<PieceAutoencoder>> PieceAutoencoder::Create(
    const Options& options, const ComponentContext& context) {
  return std::unique_ptr<PieceAutoencoder>(
      new PieceAutoencoder(options, context.seed));
}

NetworkTeacher::Network PieceAutoencoder::Describe(
    const TensorLayout& layout) const {
  const int64_t size = options_.piece_size;
  const int64_t inputs = size + kNumFeatures;
  const auto deviation = [](int64_t fan_in) {
    return 1 / std::sqrt(static_cast<double>(fan_in));
  };
  Network network;
  network.piece_size = size;
  network.example_pieces =
      std::min(kMostPieces, PieceGrid(layout, size).num_pieces());
  network.Add("encoder1", {options_.hidden, inputs}, deviation(inputs));
  network.Add("encoder1_bias", {options_.hidden}, 0);
  network.Add("encoder2", {options_.code, options_.hidden},
              deviation(options_.hidden));
  network.Add("encoder2_bias", {options_.code}, 0);
  network.Add("decoder1", {options_.hidden, options_.code},
              deviation(options_.code));
  network.Add("decoder1_bias", {options_.hidden}, 0);
  // Zeros: the first image is the constant gain's.
  network.Add("decoder2", {size, options_.hidden}, 0);
  network.Add("gain", {1, options_.code}, 0);
  network.Add("gain_bias", {1}, 0);
  network.example = {{"gradient", {network.example_pieces, size}},
                     {"displacement", {network.example_pieces, size}}};
  return network;
}

TensorList PieceAutoencoder::MakeExample(const at::Tensor& gradient,
                                         const at::Tensor& displacement,
                                         at::Tensor& features) const {
  if (num_pieces() <= kMostPieces) {
    return {gradient, displacement};
  }
  const at::Tensor kept =
      at::arange(kMostPieces).mul_(num_pieces()).floor_divide_(kMostPieces);
  features = features.index_select(0, kept);
  const at::Tensor of_displacement = displacement.index_select(0, kept);
  // Errors are over the displacement's norm: here that of what is kept.
  const double norm = std::sqrt(SquaredNorm({of_displacement}));
  const double scale = norm > 0 ? 1 / norm : 0;
  return {gradient.index_select(0, kept).mul_(scale),
          of_displacement.mul(scale)};
}

at::Tensor PieceAutoencoder::Image(const at::Tensor& features,
                                   const at::Tensor& rows) const {
  const at::Tensor rms =
      rows.square().mean(1, /*keepdim=*/true).sqrt_().clamp_min_(kSmallestRms);
  const at::Tensor x = rows.div(rms);
  const at::Tensor hidden = at::gelu(
      at::linear(at::cat({x, features}, 1), parameter(0), parameter(1)));
  const at::Tensor code = at::linear(hidden, parameter(2), parameter(3));
  const at::Tensor residual = at::linear(
      at::gelu(at::linear(code, parameter(4), parameter(5))), parameter(6));
  const at::Tensor gain =
      BoundedGain(at::linear(code, parameter(7), parameter(8)));
  return x.add(residual).mul(gain.mul(rms));
}

at::Tensor PieceAutoencoder::Moments(const at::Tensor& features,
                                     const TensorList& example) const {
  const at::Tensor image = Image(features, example[0]);
  return at::stack({image.square().sum(), image.mul(example[1]).sum()});
}

void PieceAutoencoder::Apply(const at::Tensor& features,
                             at::Tensor& rows) const {
  rows.copy_(Image(features, rows));
}

}  // namespace fedlb::teacher
