// A fast convolution block: 3x3 convolution, ReLU and 2x2 max pooling in one.

#ifndef FEDLB_MODELS_CONV_RELU_POOL_H_
#define FEDLB_MODELS_CONV_RELU_POOL_H_

#include <ATen/core/Tensor.h>

namespace fedlb::models {

// relu(max_pool2d(conv2d(input, weight, bias, padding = 1), 2)) of images
// [n, channels, height, width] with weights [outputs, channels, 3, 3].
//
// The same function and the same gradients as those three operators, but for
// rounding: for float and double on the CPU the convolution's output is never
// stored, and the backward pass takes only the pixels that the pooling chose.
// The result is channels_last. Anything else goes to the three operators.
//
// Each image is computed alone, and sums over images are split by their number,
// so the bits do not depend on the number of threads. Second derivatives are
// not available.
at::Tensor ConvReluPool(const at::Tensor& input, const at::Tensor& weight,
                        const at::Tensor& bias);

}  // namespace fedlb::models

#endif  // FEDLB_MODELS_CONV_RELU_POOL_H_
