#include "fedlb/weighted_mean.h"

#include <cstddef>

#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <c10/core/ScalarType.h>

namespace fedlb {
namespace {

template <typename T>
void AddWeighted(const T* term, double weight, int64_t count, double* sum) {
  for (int64_t i = 0; i < count; ++i) {
    sum[i] += weight * static_cast<double>(term[i]);
  }
}

// sum += weight * term. One pass; ATen would first make a double copy.
void AddWeighted(const at::Tensor& term, double weight, at::Tensor& sum) {
  const bool plain = term.is_cpu() && term.is_contiguous();
  if (plain && term.scalar_type() == at::kFloat) {
    AddWeighted(term.const_data_ptr<float>(), weight, term.numel(),
                sum.data_ptr<double>());
  } else if (plain && term.scalar_type() == at::kDouble) {
    AddWeighted(term.const_data_ptr<double>(), weight, term.numel(),
                sum.data_ptr<double>());
  } else {
    sum.add_(term, weight);
  }
}

}  // namespace

void WeightedMean::Begin(const TensorLayout& layout) {
  layout_ = layout;
  sums_.assign(layout.size(), at::Tensor());
  total_weight_ = 0;
}

void WeightedMean::Add(const TensorList& term, double weight) {
  for (size_t i = 0; i < layout_.size(); ++i) {
    const at::Tensor& tensor = term[i];
    if (!c10::isFloatingType(layout_[i].dtype)) {
      if (!sums_[i].defined()) {
        sums_[i] = tensor.detach().clone();
      }
      continue;
    }
    if (!sums_[i].defined()) {
      sums_[i] = at::zeros(tensor.sizes(), tensor.options().dtype(at::kDouble));
    }
    AddWeighted(tensor.detach(), weight, sums_[i]);
  }
  total_weight_ += weight;
}

TensorList WeightedMean::Mean() const {
  TensorList mean;
  mean.reserve(sums_.size());
  for (size_t i = 0; i < sums_.size(); ++i) {
    mean.push_back(c10::isFloatingType(layout_[i].dtype)
                       ? sums_[i].div(total_weight_).to(layout_[i].dtype)
                       : sums_[i].clone());
  }
  return mean;
}

TensorList WeightedMean::LinearState() const {
  TensorList state = sums_;
  state.push_back(at::full({1}, total_weight_, at::kDouble));
  return state;
}

}  // namespace fedlb
