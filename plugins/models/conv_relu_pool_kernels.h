// The loops of ConvReluPool, one set for each instruction set and type.

#ifndef FEDLB_MODELS_CONV_RELU_POOL_KERNELS_H_
#define FEDLB_MODELS_CONV_RELU_POOL_KERNELS_H_

#include <cstdint>
#include <type_traits>
#include <vector>

namespace fedlb::models {

// Bytes of the widest vector of all instruction sets. Sizes that vectors run
// over are padded to whole ones.
inline constexpr int64_t kConvReluPoolVector = 64;

// A 3x3 convolution with padding 1 of images [height, width, channels], then
// ReLU and 2x2 max pooling to [height / 2, width / 2, outputs].
struct ConvReluPoolShape {
  int64_t channels;
  int64_t height;
  int64_t width;
  int64_t outputs;
  int64_t padded_outputs;
  // Between the pixels of an image that has its border of zeros: `channels`,
  // padded where by_output.
  int64_t pixel_stride;
  // The backward pass takes one output channel at a time with vectors of input
  // channels, or the other way about, as images of few channels need it.
  bool by_output;
};

// What one thread works with besides the operands of a pass.
template <typename T>
struct ConvReluPoolScratch {
  // [height + 2, width + 2, pixel_stride]; the second for the images' gradient.
  T* image = nullptr;
  T* image_gradient = nullptr;
  // [height / 2, width / 2, padded_outputs], for the backward pass.
  T* gradient = nullptr;
  uint8_t* source = nullptr;
  // [5, outputs], for the images' gradient.
  int32_t* outputs_from = nullptr;
};

// Which pixel of its window a pooled value comes from: 0 to 3 row by row, or
// this where ReLU made it 0.
inline constexpr uint8_t kNoSource = 4;

template <typename T>
struct ConvReluPoolKernels {
  // `weight` is [3, 3, channels, padded_outputs], `bias` [padded_outputs].
  void (*forward)(const ConvReluPoolShape& shape, int64_t count,
                  const T* images, const T* weight, const T* bias,
                  const ConvReluPoolScratch<T>& scratch, T* pooled,
                  uint8_t* source);

  // Adds to `bias_gradient` and to `weight_gradient`, [outputs, 3, 3,
  // pixel_stride] where by_output and [channels, 3, 3, padded_outputs]
  // otherwise. Writes `image_gradient` unless it is null; only that needs
  // by_output and `weight`, [outputs, 3, 3, pixel_stride].
  void (*backward)(const ConvReluPoolShape& shape, int64_t count,
                   const T* images, const T* weight, const T* gradient,
                   const uint8_t* source, const ConvReluPoolScratch<T>& scratch,
                   T* weight_gradient, T* bias_gradient, T* image_gradient);
};

struct ConvReluPoolKernelSet {
  const char* instruction_set;
  ConvReluPoolKernels<float> of_float;
  ConvReluPoolKernels<double> of_double;

  template <typename T>
  const ConvReluPoolKernels<T>& Get() const {
    if constexpr (std::is_same_v<T, float>) {
      return of_float;
    } else {
      return of_double;
    }
  }
};

#if defined(__x86_64__)
extern const ConvReluPoolKernelSet kConvReluPoolAvx512;
extern const ConvReluPoolKernelSet kConvReluPoolAvx2;
#endif
extern const ConvReluPoolKernelSet kConvReluPoolBaseline;

// What this machine's processor can run, the fastest first.
std::vector<const ConvReluPoolKernelSet*> UsableConvReluPoolKernels();

// For all of ConvReluPool from now on; null for the fastest.
void UseConvReluPoolKernelsForTest(const ConvReluPoolKernelSet* kernels);

}  // namespace fedlb::models

#endif  // FEDLB_MODELS_CONV_RELU_POOL_KERNELS_H_
