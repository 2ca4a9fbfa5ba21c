// Runs of parameters that are treated as one long vector.

#ifndef FEDLB_TEACHER_PARAMETER_BLOCKS_H_
#define FEDLB_TEACHER_PARAMETER_BLOCKS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "fedlb/tensor_list.h"

namespace fedlb::teacher {

// Tensors [first, last) of a list.
struct ParameterBlock {
  size_t first = 0;
  size_t last = 0;
  int64_t numel = 0;
};

// Element counts and numbers of dimensions, which is all that blocks depend on.
struct ParameterShape {
  int64_t numel = 0;
  int64_t dimensions = 0;
};

std::vector<ParameterShape> ShapesOf(const TensorList& tensors);
std::vector<ParameterShape> ShapesOf(const TensorLayout& layout);

enum class BlockScope { kGlobal, kLayer };

// One block, or one per layer: a weight of two or more dimensions begins a
// layer, and the vectors after it (bias, scale and shift of a normalisation)
// belong to it.
std::vector<ParameterBlock> DivideIntoBlocks(
    const std::vector<ParameterShape>& shapes, BlockScope scope);

// A block's elements in order, copied into `target` [numel].
void Gather(const ParameterBlock& block, const TensorList& tensors,
            at::Tensor target);

// The reverse, in place.
void Scatter(const ParameterBlock& block, const at::Tensor& source,
             TensorList& tensors);

}  // namespace fedlb::teacher

#endif  // FEDLB_TEACHER_PARAMETER_BLOCKS_H_
