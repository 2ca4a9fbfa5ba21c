// Noise with the covariance that a teacher's errors on recent pairs show.

#ifndef FEDLB_TEACHER_RESIDUAL_NOISE_H_
#define FEDLB_TEACHER_RESIDUAL_NOISE_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "fedlb/random.h"
#include "fedlb/tensor_list.h"

namespace fedlb::teacher {

// Keeps the newest residuals r_j of predictions of a small batch's gradient,
// and draws sum_j z_j r_j / sqrt(J) with z_j ~ N(0, 1): mean 0, covariance that
// of the residuals about 0.
class ResidualNoise {
 public:
  static constexpr size_t kMaxResiduals = 8;

  void Add(TensorList residual);

  // target += factor * a draw; without residuals nothing. Returns the norm of
  // what was added.
  double AddDraw(const RandomKey& key, double factor, TensorList& target) const;

  // All residuals in one list, oldest first.
  TensorList Save() const;
  // kInvalidArgument: not a list that Save() gave for this layout.
  absl::Status Load(const TensorLayout& layout, const TensorList& tensors);

  static int64_t StateBytes(const TensorLayout& layout) {
    return static_cast<int64_t>(kMaxResiduals) * NumBytes(layout);
  }

 private:
  std::vector<TensorList> residuals_;  // oldest first
};

}  // namespace fedlb::teacher

#endif  // FEDLB_TEACHER_RESIDUAL_NOISE_H_
