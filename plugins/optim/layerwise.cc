#include "optim/layerwise.h"

#include <cmath>
#include <cstddef>

#include "optim/common.h"

namespace fedlb::optim {

double TrustRatio(double coefficient, double weight_square,
                  double update_square) {
  if (weight_square == 0 || update_square == 0) {
    return 1;
  }
  return coefficient * std::sqrt(weight_square) / std::sqrt(update_square);
}

TensorList InOrderOfIndices(const TensorList& tensors) {
  TensorList ordered;
  ordered.reserve(tensors.size());
  for (const at::Tensor& tensor : tensors) {
    ordered.push_back(HasPlainMemory(tensor) ? tensor.contiguous() : tensor);
  }
  return ordered;
}

void CopyBack(const TensorList& ordered, TensorList& target) {
  for (size_t i = 0; i < target.size(); ++i) {
    if (!ordered[i].is_same(target[i])) {
      target[i].copy_(ordered[i]);
    }
  }
}

}  // namespace fedlb::optim
