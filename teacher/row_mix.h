// The product by which a basis of rows becomes the next one.

#ifndef FEDLB_TEACHER_ROW_MIX_H_
#define FEDLB_TEACHER_ROW_MIX_H_

#include <ATen/core/Tensor.h>

namespace fedlb::teacher {

// The first rows of `basis` [most rows, n] become
//   factors [k, m + l] times [the first m rows of basis; rows [l, n]],
// k rows, in place. `rows` and `factors` are of one type, float or double;
// `basis` is of theirs or in bfloat16. All are contiguous and on the CPU.
//
// A general matrix product needs a second basis for its result, and takes about
// twice as long with so few rows.
void MixRows(const at::Tensor& factors, const at::Tensor& rows,
             at::Tensor& basis);

}  // namespace fedlb::teacher

#endif  // FEDLB_TEACHER_ROW_MIX_H_
