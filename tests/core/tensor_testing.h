// Tensors of random bits, and equality of bits.

#ifndef FEDLB_TESTS_CORE_TENSOR_TESTING_H_
#define FEDLB_TESTS_CORE_TENSOR_TESTING_H_

#include <cstring>
#include <random>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

namespace fedlb {

// The types that safetensors files hold.
inline const std::vector<at::ScalarType>& AllDtypes() {
  static const auto& dtypes = *new std::vector<at::ScalarType>{
      at::kDouble, at::kFloat, at::kHalf, at::kBFloat16, at::kLong,
      at::kInt,    at::kShort, at::kChar, at::kByte,     at::kBool};
  return dtypes;
}

// Every pattern of bits, NaN with any payload among them.
inline at::Tensor RandomBits(const std::vector<int64_t>& sizes,
                             at::ScalarType dtype, std::mt19937_64& random) {
  at::Tensor tensor = at::empty(sizes, at::TensorOptions().dtype(dtype));
  auto* const bytes = static_cast<unsigned char*>(tensor.mutable_data_ptr());
  for (size_t i = 0; i < tensor.nbytes(); ++i) {
    bytes[i] =
        static_cast<unsigned char>(random() % (dtype == at::kBool ? 2 : 256));
  }
  return tensor;
}

// Of any type, and of up to four dimensions, some of them 0.
inline at::Tensor RandomTensor(std::mt19937_64& random) {
  std::vector<int64_t> sizes(random() % 5);
  for (int64_t& size : sizes) {
    size = static_cast<int64_t>(random() % 6);
  }
  return RandomBits(sizes, AllDtypes()[random() % AllDtypes().size()], random);
}

// NaNs are equal to themselves here.
inline bool SameBits(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() &&
         (a.numel() == 0 ||
          std::memcmp(a.contiguous().const_data_ptr(),
                      b.contiguous().const_data_ptr(), a.nbytes()) == 0);
}

}  // namespace fedlb

#endif  // FEDLB_TESTS_CORE_TENSOR_TESTING_H_
