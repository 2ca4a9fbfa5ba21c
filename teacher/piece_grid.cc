#include "piece_grid.h"

#include <cstddef>

#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

namespace fedlb::teacher {

PieceGrid::PieceGrid(const TensorLayout& layout, int64_t size) : size_(size) {
  for (const TensorSpec& spec : layout) {
    const int64_t numel = spec.numel();
    const TensorRows rows = {num_pieces_, numel / size, numel % size};
    num_pieces_ += rows.whole + (rows.rest > 0 ? 1 : 0);
    tensors_.push_back(rows);
  }
}

at::Tensor PieceGrid::Counts() const {
  at::Tensor counts =
      at::full({num_pieces_}, static_cast<double>(size_), at::kFloat);
  for (const TensorRows& rows : tensors_) {
    if (rows.rest > 0) {
      counts[rows.first + rows.whole] = static_cast<double>(rows.rest);
    }
  }
  return counts;
}

std::vector<int64_t> PieceGrid::TensorOfPiece() const {
  std::vector<int64_t> indices;
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const int64_t end =
        i + 1 < tensors_.size() ? tensors_[i + 1].first : num_pieces_;
    indices.resize(static_cast<size_t>(end), static_cast<int64_t>(i));
  }
  return indices;
}

at::Tensor PieceGrid::Gather(const TensorList& tensors) const {
  at::Tensor gathered = at::zeros({num_pieces_, size_}, at::kFloat);
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const TensorRows& rows = tensors_[i];
    const at::Tensor flat = tensors[i].reshape(-1);
    const int64_t in_whole = rows.whole * size_;
    gathered.narrow(0, rows.first, rows.whole)
        .copy_(flat.narrow(0, 0, in_whole).view({rows.whole, size_}));
    if (rows.rest > 0) {
      gathered[rows.first + rows.whole]
          .narrow(0, 0, rows.rest)
          .copy_(flat.narrow(0, in_whole, rows.rest));
    }
  }
  return gathered;
}

void PieceGrid::Scatter(const at::Tensor& rows, TensorList& tensors) const {
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const TensorRows& of_tensor = tensors_[i];
    // Rows follow each other without a gap.
    tensors[i].copy_(
        rows.narrow(0, of_tensor.first, num_pieces_ - of_tensor.first)
            .reshape(-1)
            .narrow(0, 0, tensors[i].numel())
            .view(tensors[i].sizes()));
  }
}

void PieceGrid::ClearPadding(at::Tensor& rows) const {
  for (const TensorRows& of_tensor : tensors_) {
    if (of_tensor.rest > 0) {
      rows[of_tensor.first + of_tensor.whole]
          .narrow(0, of_tensor.rest, size_ - of_tensor.rest)
          .zero_();
    }
  }
}

}  // namespace fedlb::teacher
