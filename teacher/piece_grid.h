// Gradients as matrices: every tensor cut into pieces of one size.

#ifndef FEDLB_TEACHER_PIECE_GRID_H_
#define FEDLB_TEACHER_PIECE_GRID_H_

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "fedlb/tensor_list.h"

namespace fedlb::teacher {

// One row for each piece. A tensor's last piece may be shorter; the rest of its
// row is padding.
class PieceGrid {
 public:
  PieceGrid() = default;
  PieceGrid(const TensorLayout& layout, int64_t size);

  int64_t num_pieces() const { return num_pieces_; }
  int64_t size() const { return size_; }

  // Elements of a row that are not padding [pieces], float.
  at::Tensor Counts() const;
  // The index of the tensor that each row belongs to.
  std::vector<int64_t> TensorOfPiece() const;

  // [pieces, size], float; zeros in the padding.
  at::Tensor Gather(const TensorList& tensors) const;
  // The reverse, in place.
  void Scatter(const at::Tensor& rows, TensorList& tensors) const;
  void ClearPadding(at::Tensor& rows) const;

 private:
  struct TensorRows {
    int64_t first = 0;
    int64_t whole = 0;  // rows without padding
    int64_t rest = 0;   // elements of one more row, if any
  };

  int64_t size_ = 1;
  int64_t num_pieces_ = 0;
  std::vector<TensorRows> tensors_;
};

}  // namespace fedlb::teacher

#endif  // FEDLB_TEACHER_PIECE_GRID_H_
