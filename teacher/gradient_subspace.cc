#include "gradient_subspace.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/mv.h>
#include <ATen/ops/zeros.h>

#include "fedlb/linear.h"
#include "fedlb/tensor_list.h"
#include "row_mix.h"

namespace fedlb::teacher {
namespace {

// Columns that are worked on at a time: with 32 rows of float, a megabyte,
// which second-level caches hold.
constexpr int64_t kBlockColumns = 8192;

// Up to so many columns one inner product in float is exact enough, and faster
// than a sum over blocks.
constexpr int64_t kOneProductColumns = 1 << 18;

// Directions whose eigenvalue is a smaller share of the largest are noise of
// the arithmetic.
constexpr double kSmallestEigenvalue = 1e-7;

// Updates between two in which the basis is not taken to be orthonormal, so
// that rounding does not add up.
constexpr int64_t kOrthonormalityCheck = 32;

at::ScalarType StorageType(at::ScalarType dtype, BasisPrecision precision) {
  return precision == BasisPrecision::kBf16 ? at::kBFloat16 : dtype;
}

// Of the rows of `a` with the rows of `b`.
at::Tensor InnerProducts(const at::Tensor& a, const at::Tensor& b) {
  return ApplyLinear(a, b, at::Tensor());
}

at::Tensor AsTensor(const std::vector<double>& values, at::ScalarType dtype) {
  return ToTensor(values).to(dtype);
}

}  // namespace

GradientSubspace::GradientSubspace(int64_t rank, double forgetting,
                                   int64_t numel, at::ScalarType dtype,
                                   BasisPrecision precision)
    : forgetting_(forgetting),
      dtype_(dtype),
      basis_(at::zeros({std::min(rank, numel), numel},
                       StorageType(dtype, precision))) {}

int64_t GradientSubspace::StateBytes(int64_t rank, int64_t numel,
                                     at::ScalarType dtype,
                                     BasisPrecision precision) {
  const int64_t rows = std::min(rank, numel);
  const auto element =
      static_cast<int64_t>(c10::elementSize(StorageType(dtype, precision)));
  return rows * (numel * element + static_cast<int64_t>(sizeof(double)));
}

at::Tensor GradientSubspace::Columns(int64_t begin, int64_t count) const {
  return basis_.narrow(0, 0, rank()).narrow(1, begin, count).to(dtype_);
}

std::vector<double> GradientSubspace::Encode(const at::Tensor& vector) const {
  const at::NoGradGuard no_grad;
  at::Tensor code = at::zeros({rank()}, at::kDouble);
  if (rank() == 0) {
    return {};
  }
  const int64_t numel = basis_.size(1);
  for (int64_t begin = 0; begin < numel; begin += kBlockColumns) {
    const int64_t count = std::min(kBlockColumns, numel - begin);
    code.add_(at::mv(Columns(begin, count), vector.narrow(0, begin, count)));
  }
  return ToVector(code);
}

void GradientSubspace::AddDecoded(const std::vector<double>& code,
                                  at::Tensor& vector) const {
  const at::NoGradGuard no_grad;
  if (rank() == 0) {
    return;
  }
  const at::Tensor weights = AsTensor(code, dtype_);
  const int64_t numel = basis_.size(1);
  for (int64_t begin = 0; begin < numel; begin += kBlockColumns) {
    const int64_t count = std::min(kBlockColumns, numel - begin);
    vector.narrow(0, begin, count).addmv_(Columns(begin, count).t(), weights);
  }
}

at::Tensor GradientSubspace::Gram(const at::Tensor& scales,
                                  const at::Tensor& gradients) const {
  const int64_t old_rows = rank();
  const int64_t new_rows = gradients.size(0);
  const int64_t numel = basis_.size(1);
  const bool orthonormal = num_updates_ % kOrthonormalityCheck != 0;
  at::Tensor gram =
      at::zeros({old_rows + new_rows, old_rows + new_rows}, at::kDouble);
  at::Tensor old_old = gram.narrow(0, 0, old_rows).narrow(1, 0, old_rows);
  at::Tensor new_old =
      gram.narrow(0, old_rows, new_rows).narrow(1, 0, old_rows);
  at::Tensor new_new =
      gram.narrow(0, old_rows, new_rows).narrow(1, old_rows, new_rows);
  const int64_t width = numel <= kOneProductColumns ? numel : kBlockColumns;
  for (int64_t begin = 0; begin < numel; begin += width) {
    const int64_t count = std::min(width, numel - begin);
    const at::Tensor part = gradients.narrow(1, begin, count);
    new_new.add_(InnerProducts(part, part));
    if (old_rows > 0) {
      const at::Tensor basis = Columns(begin, count);
      new_old.add_(InnerProducts(part, basis));
      if (!orthonormal) {
        old_old.add_(InnerProducts(basis, basis));
      }
    }
  }
  if (orthonormal) {
    old_old.diagonal().fill_(1);
  }
  gram.narrow(0, 0, old_rows).narrow(1, old_rows, new_rows).copy_(new_old.t());
  return gram.mul_(scales.unsqueeze(0)).mul_(scales.unsqueeze(1));
}

void GradientSubspace::Update(const at::Tensor& gradients) {
  const at::NoGradGuard no_grad;
  const int64_t old_rows = rank();
  const int64_t new_rows = gradients.size(0);
  if (basis_.size(0) == 0) {
    return;
  }
  std::vector<double> row_scales = singular_;
  for (double& value : row_scales) {
    value *= std::sqrt(forgetting_);
  }
  row_scales.resize(
      static_cast<size_t>(old_rows + new_rows),
      std::sqrt((1 - forgetting_) / static_cast<double>(new_rows)));
  const at::Tensor scales = ToTensor(row_scales);

  // A = diag(scales) [V; G] has A A^T = U diag(e) U^T, so that its right
  // singular vectors are diag(e)^(-1/2) U^T A.
  const auto [eigenvalues, eigenvectors] =
      at::linalg_eigh(Gram(scales, gradients));
  const std::vector<double> ascending = ToVector(eigenvalues);
  const double largest = ascending.back();
  std::vector<double> kept;
  while (kept.size() < ascending.size() &&
         static_cast<int64_t>(kept.size()) < basis_.size(0)) {
    const double next = ascending[ascending.size() - 1 - kept.size()];
    if (!(next > kSmallestEigenvalue * largest) || next <= 0) {
      break;
    }
    kept.push_back(std::sqrt(next));
  }
  const auto new_rank = static_cast<int64_t>(kept.size());
  ++num_updates_;
  if (new_rank == 0) {
    return;  // nothing but zeros
  }
  std::vector<double> inverse = kept;
  for (double& value : inverse) {
    value = 1 / value;
  }
  const at::Tensor factors =
      eigenvectors.narrow(1, eigenvectors.size(1) - new_rank, new_rank)
          .flip(1)
          .t()
          .mul(ToTensor(inverse).unsqueeze(1))
          .mul(scales.unsqueeze(0))
          .to(dtype_);
  MixRows(factors.contiguous(), gradients.contiguous(), basis_);
  singular_ = std::move(kept);
}

at::Tensor GradientSubspace::basis() const {
  return basis_.narrow(0, 0, rank());
}

void GradientSubspace::Restore(const at::Tensor& basis,
                               std::vector<double> singular_values,
                               int64_t num_updates) {
  singular_ = std::move(singular_values);
  num_updates_ = num_updates;
  if (!singular_.empty()) {
    basis_.narrow(0, 0, rank()).copy_(basis);
  }
}

}  // namespace fedlb::teacher
