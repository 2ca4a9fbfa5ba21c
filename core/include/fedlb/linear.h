// The affine map of fully connected layers.

#ifndef FEDLB_LINEAR_H_
#define FEDLB_LINEAR_H_

#include <ATen/core/Tensor.h>

#include "fedlb/export.h"

namespace fedlb {

// x weight^T + bias, as at::linear, for x [..., inputs], weight
// [outputs, inputs] and bias [outputs] or undefined. Differentiable once.
//
// Products of float matrices on the CPU that are large enough go to oneDNN.
// ATen gives them to MKL, which does not use AVX-512 on all processors that
// have it and then takes twice as long.
FEDLB_API at::Tensor ApplyLinear(const at::Tensor& x, const at::Tensor& weight,
                                 const at::Tensor& bias);

}  // namespace fedlb

#endif  // FEDLB_LINEAR_H_
