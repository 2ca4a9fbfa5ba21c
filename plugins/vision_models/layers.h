// Layers: handles to the parameters of a model, and what is computed with them.

#ifndef FEDLB_PLUGINS_VISION_MODELS_LAYERS_H_
#define FEDLB_PLUGINS_VISION_MODELS_LAYERS_H_

#include <array>
#include <cstdint>

#include <ATen/core/Tensor.h>

namespace fedlb::vision_models {

// A square convolution.
struct ConvShape {
  int64_t inputs = 0;   // channels
  int64_t outputs = 0;  // channels
  int64_t kernel = 1;
  int64_t stride = 1;
  int64_t padding = 0;
  bool bias = true;

  int64_t fan_in() const { return inputs * kernel * kernel; }
  int64_t fan_out() const { return outputs * kernel * kernel; }
};

struct Conv {
  at::Tensor weight;
  at::Tensor bias;  // undefined for none
  std::array<int64_t, 2> stride = {1, 1};
  std::array<int64_t, 2> padding = {0, 0};

  at::Tensor operator()(const at::Tensor& x) const;
};

struct Linear {
  at::Tensor weight;
  at::Tensor bias;

  at::Tensor operator()(const at::Tensor& x) const;
};

// S. Ioffe and C. Szegedy, "Batch Normalization", ICML 2015, over the examples
// and pixels of each channel. While training it normalises with the statistics
// of the batch and moves the running ones a tenth of the way towards them.
struct BatchNorm {
  at::Tensor weight;
  at::Tensor bias;
  at::Tensor running_mean;
  at::Tensor running_var;

  // Throws where a batch has one value per channel and hence no variance.
  at::Tensor operator()(const at::Tensor& x, bool training) const;
};

// J. L. Ba et al., "Layer Normalization", arXiv 1607.06450, over the last
// dimension, with the epsilon of the vision transformer.
struct LayerNorm {
  at::Tensor weight;
  at::Tensor bias;

  at::Tensor operator()(const at::Tensor& x) const;
};

// Poolings with windows of `size` every `stride` pixels. Windows that reach
// beyond the border count where `round_up` says so.
at::Tensor MaxPool(const at::Tensor& x, int64_t size, int64_t stride,
                   int64_t padding = 0, bool round_up = false);
// Means over a grid of side x side areas of about equal size.
at::Tensor AveragePoolTo(const at::Tensor& x, int64_t side);

// linear(AveragePoolTo(x, side).flatten(1)) for x [n, channels, height, width].
// Where the grid has more cells than x has pixels, it is the weights that are
// pooled: the same sum, with fewer multiplications.
at::Tensor LinearOnPool(const Linear& linear, const at::Tensor& x,
                        int64_t side);

}  // namespace fedlb::vision_models

#endif  // FEDLB_PLUGINS_VISION_MODELS_LAYERS_H_
