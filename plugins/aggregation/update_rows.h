// The updates of a round side by side, for rules that must see all of them.

#ifndef FEDLB_PLUGINS_AGGREGATION_UPDATE_ROWS_H_
#define FEDLB_PLUGINS_AGGREGATION_UPDATE_ROWS_H_

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "fedlb/round_task.h"
#include "fedlb/tensor_list.h"

namespace fedlb::aggregation {

// A row is a copy of all parameters of one update, end to end, in float, or in
// double where the layout holds doubles. Not thread-safe.
class UpdateRows {
 public:
  void Begin(const TensorLayout& layout);
  void Add(const Update& update);
  void Clear() { rows_.clear(); }

  int64_t size() const { return static_cast<int64_t>(rows_.size()); }
  // Elements of a row, and their type.
  int64_t width() const { return width_; }
  at::ScalarType dtype() const { return dtype_; }
  const std::vector<at::Tensor>& rows() const { return rows_; }

  // A row as parameters of the layout; shares no memory with it.
  TensorList ToTensors(const at::Tensor& row) const;

 private:
  TensorLayout layout_;
  int64_t width_ = 0;
  at::ScalarType dtype_ = at::kFloat;
  std::vector<at::Tensor> rows_;
};

}  // namespace fedlb::aggregation

#endif  // FEDLB_PLUGINS_AGGREGATION_UPDATE_ROWS_H_
