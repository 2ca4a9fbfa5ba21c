// A streaming weighted mean of lists of tensors.

#ifndef FEDLB_WEIGHTED_MEAN_H_
#define FEDLB_WEIGHTED_MEAN_H_

#include "fedlb/export.h"
#include "fedlb/tensor_list.h"

namespace fedlb {

// Sums in double, so that its memory is that of one list and the rounding does
// not grow with the number of terms. Not thread-safe.
class FEDLB_API WeightedMean {
 public:
  // Forgets all terms; the terms to come have this layout. Tensors of integer
  // type are not averaged: the mean has those of the first term.
  void Begin(const TensorLayout& layout);

  void Add(const TensorList& term, double weight);

  // Sum of weight * term / sum of weights, in the types of the layout; the
  // total weight is positive.
  TensorList Mean() const { return Quotient(total_weight_); }

  // Sum of weight * term / divisor.
  TensorList Quotient(double divisor) const;

  double total_weight() const { return total_weight_; }

  // The sums and, last, the total weight: adding the states of several
  // processes gives the state of all terms.
  TensorList LinearState() const;

 private:
  TensorLayout layout_;
  TensorList sums_;
  double total_weight_ = 0;
};

}  // namespace fedlb

#endif  // FEDLB_WEIGHTED_MEAN_H_
