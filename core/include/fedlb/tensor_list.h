// Lists of tensors, and what they must look like.

#ifndef FEDLB_TENSOR_LIST_H_
#define FEDLB_TENSOR_LIST_H_

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "absl/status/status.h"
#include "fedlb/export.h"

namespace fedlb {

// One tensor per parameter (or buffer), in the order of the model's layout.
using TensorList = std::vector<at::Tensor>;

// Name, shape and type of one tensor.
struct TensorSpec {
  std::string name;
  std::vector<int64_t> sizes;
  at::ScalarType dtype = at::ScalarType::Float;

  FEDLB_API int64_t numel() const;
  friend bool operator==(const TensorSpec&, const TensorSpec&) = default;
};

using TensorLayout = std::vector<TensorSpec>;

// kInvalidArgument naming the first tensor of `tensors` whose shape, type or
// absence does not fit `layout`.
FEDLB_API absl::Status CheckLayout(const TensorLayout& layout,
                                   const TensorList& tensors);

// What the tensors look like, without names.
FEDLB_API TensorLayout LayoutOf(const TensorList& tensors);

// Number of elements and bytes of all tensors together.
FEDLB_API int64_t NumElements(const TensorList& tensors);
FEDLB_API int64_t NumBytes(const TensorList& tensors);
FEDLB_API int64_t NumBytes(const TensorLayout& layout);

// Deep copies, detached from autograd and contiguous.
FEDLB_API TensorList Clone(const TensorList& tensors);
// The same memory, detached from autograd.
FEDLB_API TensorList Detach(const TensorList& tensors);
FEDLB_API TensorList ZerosLike(const TensorList& tensors);
FEDLB_API TensorList Zeros(const TensorLayout& layout);

// target[i] = source[i], in place; same shapes.
FEDLB_API void Copy(const TensorList& source, TensorList& target);

// target[i] += factor * source[i], in place; same shapes.
FEDLB_API void AddScaled(const TensorList& source, double factor,
                         TensorList& target);

// tensors[i] *= factor, in place.
FEDLB_API void Scale(double factor, TensorList& tensors);

// The element-wise mean of one or more lists of the same shapes.
FEDLB_API TensorList MeanOf(const std::vector<TensorList>& lists);

// Sum of products over all elements, accumulated in double; same shapes.
FEDLB_API double Dot(const TensorList& a, const TensorList& b);

// Sum of squares over all elements of all tensors, accumulated in double. Not
// finite exactly when some element is not finite (or is beyond 1e150).
FEDLB_API double SquaredNorm(const TensorList& tensors);

// The values as a tensor of one dimension, and back.
FEDLB_API at::Tensor ToTensor(const std::vector<double>& values);
FEDLB_API std::vector<double> ToVector(const at::Tensor& tensor);

// SHA-256 of the bytes of all tensors in order, as 64 hex digits.
FEDLB_API std::string Sha256Hex(const TensorList& tensors);

}  // namespace fedlb

#endif  // FEDLB_TENSOR_LIST_H_
