#include "fedlb/weighted_mean.h"

#include <cstddef>

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <c10/core/ScalarType.h>

#include "aggregation/row_kernels.h"

namespace fedlb {
namespace {

// sum += weight * term. One pass; ATen would first make a double copy.
void AddWeighted(const at::Tensor& term, double weight, at::Tensor& sum) {
  const bool plain = term.is_cpu() && term.is_contiguous();
  if (plain && term.scalar_type() == at::kFloat) {
    AddWeightedRow(term.const_data_ptr<float>(), weight, term.numel(),
                   sum.data_ptr<double>());
  } else if (plain && term.scalar_type() == at::kDouble) {
    AddWeightedRow(term.const_data_ptr<double>(), weight, term.numel(),
                   sum.data_ptr<double>());
  } else {
    sum.add_(term, weight);
  }
}

template <typename T>
void Divide(const double* sum, double weight, int64_t count, T* mean) {
  for (int64_t i = 0; i < count; ++i) {
    mean[i] = static_cast<T>(sum[i] / weight);
  }
}

// sum / weight. One pass, too.
at::Tensor Divide(const at::Tensor& sum, double weight, at::ScalarType dtype) {
  const bool plain = sum.is_cpu() && sum.is_contiguous();
  if (!plain || (dtype != at::kFloat && dtype != at::kDouble)) {
    return sum.div(weight).to(dtype);
  }
  at::Tensor mean = at::empty(sum.sizes(), sum.options().dtype(dtype));
  const double* const sums = sum.const_data_ptr<double>();
  if (dtype == at::kFloat) {
    Divide(sums, weight, sum.numel(), mean.data_ptr<float>());
  } else {
    Divide(sums, weight, sum.numel(), mean.data_ptr<double>());
  }
  return mean;
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

TensorList WeightedMean::Quotient(double divisor) const {
  TensorList mean;
  mean.reserve(sums_.size());
  for (size_t i = 0; i < sums_.size(); ++i) {
    mean.push_back(c10::isFloatingType(layout_[i].dtype)
                       ? Divide(sums_[i], divisor, layout_[i].dtype)
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
