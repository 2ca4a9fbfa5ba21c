// What optimizers that treat every tensor as a layer have in common.

#ifndef FEDLB_PLUGINS_OPTIM_LAYERWISE_H_
#define FEDLB_PLUGINS_OPTIM_LAYERWISE_H_

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "fedlb/tensor_list.h"

namespace fedlb::optim {

// Whether `weight` is a bias, a scale of a normalisation or a single number,
// and those are to be left out of decay and adaptation.
inline bool IsExcluded(const at::Tensor& weight, bool exclude_1d) {
  return exclude_1d && weight.dim() <= 1;
}

inline constexpr char kExclude1dDescription[] =
    "Leave tensors of at most one dimension (biases, scales of normalisation) "
    "out of weight decay, and step them with a ratio of 1.";

// coefficient * |weight| / |update| from the squares of the norms; 1 where
// either is 0. A layer that starts at 0 so moves at all, and one without a
// gradient does not divide by 0.
double TrustRatio(double coefficient, double weight_square,
                  double update_square);

// The tensors with plain memory in the order of their indices: norms then add
// up alike however a tensor lies in memory. Those that lie so already, and
// those without plain memory, are aliases.
TensorList InOrderOfIndices(const TensorList& tensors);

// Writes what InOrderOfIndices(target) had to copy back to `target`.
void CopyBack(const TensorList& ordered, TensorList& target);

// Values that a loop computes before it hands them to a SquareSum: few enough
// to stay in the first cache.
inline constexpr int64_t kBlock = 1024;

// A sum of squares in double whose order depends on nothing but the calls.
class SquareSum {
 public:
  template <typename T>
  void Add(const T* values, int64_t count) {
    // Copies, because `values` might alias the members.
    double lanes[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) {
      lanes[lane] = lanes_[lane];
    }
    int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes) {
      for (int lane = 0; lane < kLanes; ++lane) {
        const double value = values[i + lane];
        lanes[lane] += value * value;
      }
    }
    for (int lane = 0; i < count; ++i, ++lane) {
      const double value = values[i];
      lanes[lane] += value * value;
    }
    for (int lane = 0; lane < kLanes; ++lane) {
      lanes_[lane] = lanes[lane];
    }
  }

  double Total() const {
    double total = 0;
    for (const double lane : lanes_) {
      total += lane;
    }
    return total;
  }

 private:
  static constexpr int kLanes = 16;  // independent, so that loops vectorise

  double lanes_[kLanes] = {};
};

}  // namespace fedlb::optim

#endif  // FEDLB_PLUGINS_OPTIM_LAYERWISE_H_
