#include "fedlb/tensor_list.h"

#include <algorithm>
#include <cstddef>
#include <string>

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/ScalarType.h>
#include <openssl/evp.h>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace fedlb {
namespace {

template <typename T>
double SumOfSquares(const T* values, int64_t count) {
  // Independent partial sums: the loop vectorises and the result does not
  // depend on how many threads there are.
  constexpr int kLanes = 16;
  double lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const double value = values[i + lane];
      lanes[lane] += value * value;
    }
  }
  double sum = 0;
  for (; i < count; ++i) {
    const double value = values[i];
    sum += value * value;
  }
  for (const double lane : lanes) {
    sum += lane;
  }
  return sum;
}

double SumOfSquares(const at::Tensor& tensor) {
  const at::Tensor dense = tensor.detach().cpu().contiguous();
  switch (dense.scalar_type()) {
    case at::kFloat:
      return SumOfSquares(dense.const_data_ptr<float>(), dense.numel());
    case at::kDouble:
      return SumOfSquares(dense.const_data_ptr<double>(), dense.numel());
    default: {
      const at::Tensor wide = dense.to(at::kDouble);
      return SumOfSquares(wide.const_data_ptr<double>(), wide.numel());
    }
  }
}

}  // namespace

int64_t TensorSpec::numel() const {
  int64_t count = 1;
  for (const int64_t size : sizes) {
    count *= size;
  }
  return count;
}

absl::Status CheckLayout(const TensorLayout& layout,
                         const TensorList& tensors) {
  if (tensors.size() != layout.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "has ", tensors.size(), " tensors instead of ", layout.size()));
  }
  for (size_t i = 0; i < layout.size(); ++i) {
    const at::Tensor& tensor = tensors[i];
    const TensorSpec& spec = layout[i];
    if (!tensor.defined()) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", spec.name, " is missing"));
    }
    if (tensor.sizes() != at::IntArrayRef(spec.sizes)) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", spec.name, " has shape [",
                       absl::StrJoin(tensor.sizes(), ", "), "] instead of [",
                       absl::StrJoin(spec.sizes, ", "), "]"));
    }
    if (tensor.scalar_type() != spec.dtype) {
      return absl::InvalidArgumentError(absl::StrCat(
          "tensor ", spec.name, " has type ", c10::toString(tensor.scalar_type()),
          " instead of ", c10::toString(spec.dtype)));
    }
  }
  return absl::OkStatus();
}

TensorLayout LayoutOf(const TensorList& tensors) {
  TensorLayout layout;
  for (const at::Tensor& tensor : tensors) {
    layout.push_back({"", tensor.sizes().vec(), tensor.scalar_type()});
  }
  return layout;
}

int64_t NumElements(const TensorList& tensors) {
  int64_t count = 0;
  for (const at::Tensor& tensor : tensors) {
    count += tensor.numel();
  }
  return count;
}

int64_t NumBytes(const TensorList& tensors) {
  int64_t bytes = 0;
  for (const at::Tensor& tensor : tensors) {
    bytes += static_cast<int64_t>(tensor.nbytes());
  }
  return bytes;
}

int64_t NumBytes(const TensorLayout& layout) {
  int64_t bytes = 0;
  for (const TensorSpec& spec : layout) {
    bytes += spec.numel() * static_cast<int64_t>(c10::elementSize(spec.dtype));
  }
  return bytes;
}

TensorList Clone(const TensorList& tensors) {
  TensorList copies;
  copies.reserve(tensors.size());
  for (const at::Tensor& tensor : tensors) {
    copies.push_back(tensor.detach().clone(at::MemoryFormat::Contiguous));
  }
  return copies;
}

TensorList Detach(const TensorList& tensors) {
  TensorList detached;
  detached.reserve(tensors.size());
  for (const at::Tensor& tensor : tensors) {
    detached.push_back(tensor.detach());
  }
  return detached;
}

TensorList ZerosLike(const TensorList& tensors) {
  TensorList zeros;
  zeros.reserve(tensors.size());
  for (const at::Tensor& tensor : tensors) {
    zeros.push_back(at::zeros_like(tensor.detach(), {},
                                   at::MemoryFormat::Contiguous));
  }
  return zeros;
}

TensorList Zeros(const TensorLayout& layout) {
  TensorList zeros;
  zeros.reserve(layout.size());
  for (const TensorSpec& spec : layout) {
    zeros.push_back(at::zeros(spec.sizes, spec.dtype));
  }
  return zeros;
}

void Copy(const TensorList& source, TensorList& target) {
  for (size_t i = 0; i < target.size(); ++i) {
    target[i].detach().copy_(source[i].detach());
  }
}

void AddScaled(const TensorList& source, double factor, TensorList& target) {
  for (size_t i = 0; i < target.size(); ++i) {
    target[i].detach().add_(source[i].detach(), factor);
  }
}

void Scale(double factor, TensorList& tensors) {
  for (at::Tensor& tensor : tensors) {
    tensor.detach().mul_(factor);
  }
}

TensorList MeanOf(const std::vector<TensorList>& lists) {
  TensorList mean = ZerosLike(lists.front());
  for (const TensorList& list : lists) {
    AddScaled(list, 1.0 / static_cast<double>(lists.size()), mean);
  }
  return mean;
}

double Dot(const TensorList& a, const TensorList& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    sum += a[i].reshape({-1})
               .to(at::kDouble)
               .dot(b[i].reshape({-1}).to(at::kDouble))
               .item<double>();
  }
  return sum;
}

double SquaredNorm(const TensorList& tensors) {
  double sum = 0;
  for (const at::Tensor& tensor : tensors) {
    sum += SumOfSquares(tensor);
  }
  return sum;
}

at::Tensor ToTensor(const std::vector<double>& values) {
  at::Tensor tensor =
      at::empty({static_cast<int64_t>(values.size())}, at::kDouble);
  std::copy(values.begin(), values.end(), tensor.data_ptr<double>());
  return tensor;
}

std::vector<double> ToVector(const at::Tensor& tensor) {
  const at::Tensor dense = tensor.to(at::kDouble).contiguous();
  const double* values = dense.const_data_ptr<double>();
  return std::vector<double>(values, values + dense.numel());
}

std::string Sha256Hex(const TensorList& tensors) {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  EVP_DigestInit_ex(context, EVP_sha256(), nullptr);
  for (const at::Tensor& tensor : tensors) {
    const at::Tensor dense = tensor.detach().cpu().contiguous();
    EVP_DigestUpdate(context, dense.const_data_ptr(), dense.nbytes());
  }
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  EVP_DigestFinal_ex(context, digest, &length);
  EVP_MD_CTX_free(context);
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(digest), length));
}

}  // namespace fedlb
