// An autoencoder for gradients that is linear, tied and fitted as they come.

#ifndef FEDLB_TEACHER_GRADIENT_SUBSPACE_H_
#define FEDLB_TEACHER_GRADIENT_SUBSPACE_H_

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace fedlb::teacher {

enum class BasisPrecision { kFull, kBf16 };

// The encoder V [rank, n] has orthonormal rows and the decoder is V^T. After
// every update, V and the singular values s are the exact minimiser of the
// weighted reconstruction error
//   sum_t forgetting^(now - t) (1 - forgetting) / M sum_i |G_ti - V^T V G_ti|^2
// over the M gradients of each update, where gradients of older updates are
// known by their image in the basis only (incremental truncated SVD with
// forgetting: M. Brand, "Incremental singular value decomposition of uncertain
// data with missing values", ECCV 2002; the weighting of D. Ross et al.,
// "Incremental learning for robust visual tracking", IJCV 77, 2008).
//
// s_j^2 is the mean square of the gradients' j-th code.
class GradientSubspace {
 public:
  // A basis of up to `rank` rows, fewer where `numel` is less. `dtype` is the
  // gradients' type; the basis is kept in it or, to save memory, in bfloat16.
  GradientSubspace(int64_t rank, double forgetting, int64_t numel,
                   at::ScalarType dtype, BasisPrecision precision);

  // Rows in use: 0 before the first update.
  int64_t rank() const { return static_cast<int64_t>(singular_.size()); }
  const std::vector<double>& singular_values() const { return singular_; }

  // The code V x [rank] of a vector x [n].
  std::vector<double> Encode(const at::Tensor& vector) const;

  // vector += V^T code, in place.
  void AddDecoded(const std::vector<double>& code, at::Tensor& vector) const;

  // Takes in M gradients [M, n], all of them finite.
  void Update(const at::Tensor& gradients);

  // The state: rows in use of the basis [rank, n], singular values and the
  // number of updates.
  at::Tensor basis() const;
  int64_t num_updates() const { return num_updates_; }

  // Takes over a state. `basis` has up to `rank` rows of n elements, as many as
  // there are singular values.
  void Restore(const at::Tensor& basis, std::vector<double> singular_values,
               int64_t num_updates);

  static int64_t StateBytes(int64_t rank, int64_t numel, at::ScalarType dtype,
                            BasisPrecision precision);

 private:
  // Columns [begin, begin + count) of the rows in use, in the gradients' type.
  at::Tensor Columns(int64_t begin, int64_t count) const;
  // A A^T for A = diag(scales) [V; G].
  at::Tensor Gram(const at::Tensor& scales, const at::Tensor& gradients) const;

  const double forgetting_;
  const at::ScalarType dtype_;
  at::Tensor basis_;  // [most rows, n]; the first rank() are in use
  std::vector<double> singular_;
  int64_t num_updates_ = 0;
};

}  // namespace fedlb::teacher

#endif  // FEDLB_TEACHER_GRADIENT_SUBSPACE_H_
