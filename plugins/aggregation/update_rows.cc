#include "aggregation/update_rows.h"

#include <utility>

#include <ATen/ops/empty.h>

namespace fedlb::aggregation {

void UpdateRows::Begin(const TensorLayout& layout) {
  layout_ = layout;
  rows_.clear();
  width_ = 0;
  dtype_ = at::kFloat;
  for (const TensorSpec& spec : layout) {
    width_ += spec.numel();
    const bool fits_float =
        at::isReducedFloatingType(spec.dtype) || spec.dtype == at::kFloat;
    if (!fits_float) {
      dtype_ = at::kDouble;
    }
  }
}

void UpdateRows::Add(const Update& update) {
  at::Tensor row = at::empty({width_}, dtype_);
  int64_t begin = 0;
  for (const at::Tensor& tensor : update.parameters()) {
    row.narrow(0, begin, tensor.numel()).copy_(tensor.detach().reshape({-1}));
    begin += tensor.numel();
  }
  rows_.push_back(std::move(row));
}

TensorList UpdateRows::ToTensors(const at::Tensor& row) const {
  TensorList tensors;
  int64_t begin = 0;
  for (const TensorSpec& spec : layout_) {
    tensors.push_back(at::empty(spec.sizes, spec.dtype));
    tensors.back().copy_(
        row.narrow(0, begin, spec.numel()).reshape(spec.sizes));
    begin += spec.numel();
  }
  return tensors;
}

}  // namespace fedlb::aggregation
