#include "parameter_blocks.h"

namespace fedlb::teacher {

std::vector<ParameterShape> ShapesOf(const TensorList& tensors) {
  std::vector<ParameterShape> shapes;
  shapes.reserve(tensors.size());
  for (const at::Tensor& tensor : tensors) {
    shapes.push_back({tensor.numel(), tensor.dim()});
  }
  return shapes;
}

std::vector<ParameterShape> ShapesOf(const TensorLayout& layout) {
  std::vector<ParameterShape> shapes;
  shapes.reserve(layout.size());
  for (const TensorSpec& spec : layout) {
    shapes.push_back({spec.numel(), static_cast<int64_t>(spec.sizes.size())});
  }
  return shapes;
}

std::vector<ParameterBlock> DivideIntoBlocks(
    const std::vector<ParameterShape>& shapes, BlockScope scope) {
  std::vector<ParameterBlock> blocks;
  for (size_t i = 0; i < shapes.size(); ++i) {
    const bool begins = blocks.empty() || (scope == BlockScope::kLayer &&
                                           shapes[i].dimensions >= 2);
    if (begins) {
      blocks.push_back({i, i, 0});
    }
    blocks.back().last = i + 1;
    blocks.back().numel += shapes[i].numel;
  }
  return blocks;
}

void Gather(const ParameterBlock& block, const TensorList& tensors,
            at::Tensor target) {
  int64_t begin = 0;
  for (size_t i = block.first; i < block.last; ++i) {
    const int64_t count = tensors[i].numel();
    target.narrow(0, begin, count).view(tensors[i].sizes()).copy_(tensors[i]);
    begin += count;
  }
}

void Scatter(const ParameterBlock& block, const at::Tensor& source,
             TensorList& tensors) {
  int64_t begin = 0;
  for (size_t i = block.first; i < block.last; ++i) {
    const int64_t count = tensors[i].numel();
    tensors[i].copy_(source.narrow(0, begin, count).view(tensors[i].sizes()));
    begin += count;
  }
}

}  // namespace fedlb::teacher
