#include "optim/common.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include <ATen/ops/empty_like.h>

namespace fedlb::optim {
namespace {

// Strides of sizes 1 place nothing.
bool SameOrder(const at::Tensor& a, const at::Tensor& b) {
  for (int64_t d = 0; d < a.dim(); ++d) {
    if (a.size(d) != 1 && a.stride(d) != b.stride(d)) {
      return false;
    }
  }
  return true;
}

}  // namespace

bool HasPlainMemory(const at::Tensor& weight) {
  return weight.layout() == at::kStrided && weight.device().is_cpu() &&
         (weight.scalar_type() == at::kFloat ||
          weight.scalar_type() == at::kDouble) &&
         weight.is_non_overlapping_and_dense();
}

at::Tensor InOrderOf(const at::Tensor& weight, const at::Tensor& tensor) {
  if (HasPlainMemory(tensor) && SameOrder(weight, tensor) &&
      tensor.scalar_type() == weight.scalar_type()) {
    return tensor;
  }
  return at::empty_like(weight).copy_(tensor);
}

double ClipFactor(const TensorList& gradient, double max_norm) {
  if (max_norm == 0) {
    return 1;
  }
  const double norm = std::sqrt(SquaredNorm(gradient));
  return std::min(1.0, max_norm / (norm + 1e-6));
}

}  // namespace fedlb::optim
