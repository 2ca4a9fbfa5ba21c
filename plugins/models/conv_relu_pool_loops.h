// The loops of ConvReluPool for vectors of any width. Included by one file for
// each instruction set, which is compiled with that instruction set's flags:
// everything here has internal linkage, and nothing calls a library's inline
// functions, so that no such code is linked into the rest of the program.

#ifndef FEDLB_MODELS_CONV_RELU_POOL_LOOPS_H_
#define FEDLB_MODELS_CONV_RELU_POOL_LOOPS_H_

#include <cstdint>
#include <cstring>

#include "models/conv_relu_pool_kernels.h"

namespace fedlb::models {
namespace {

// Vectors of kBytes.
template <typename T, int kBytes>
struct Simd {
  using Scalar = T;
  static constexpr int kLanes = kBytes / sizeof(T);
  typedef T Vector __attribute__((vector_size(kBytes)));
  using Mask = decltype(Vector{} < Vector{});
  typedef uint8_t Bytes __attribute__((vector_size(kLanes)));
  // How many windows and vectors of outputs the forward pass keeps in
  // registers at a time, four accumulators for each.
  static constexpr int kWindows = kBytes == 64 ? 2 : 1;
  static constexpr int kVectors = 2;

  static Vector Load(const T* from) {
    Vector vector;
    std::memcpy(&vector, from, sizeof(vector));
    return vector;
  }
  static Mask LoadSource(const uint8_t* from) {
    Bytes bytes;
    std::memcpy(&bytes, from, sizeof(bytes));
    return __builtin_convertvector(bytes, Mask);
  }
  static void Store(const Vector& vector, T* to) {
    std::memcpy(to, &vector, sizeof(vector));
  }
};

int64_t ImageSize(const ConvReluPoolShape& s) {
  return s.height * s.width * s.channels;
}

int64_t PaddedImageSize(const ConvReluPoolShape& s) {
  return (s.height + 2) * (s.width + 2) * s.pixel_stride;
}

int64_t NumWindows(const ConvReluPoolShape& s) {
  return (s.height / 2) * (s.width / 2);
}

// Copies the pixels of one row between images of other strides.
template <typename T>
void CopyRow(const ConvReluPoolShape& s, const T* from, int64_t from_stride,
             T* to, int64_t to_stride) {
  if (from_stride == to_stride) {
    std::memcpy(to, from, s.width * to_stride * sizeof(T));
    return;
  }
  for (int64_t x = 0; x < s.width; ++x) {
    for (int64_t c = 0; c < s.channels; ++c) {
      to[x * to_stride + c] = from[x * from_stride + c];
    }
  }
}

template <typename T>
void PadImage(const ConvReluPoolShape& s, const T* image, T* padded) {
  for (int64_t y = 0; y < s.height; ++y) {
    T* const to = padded + ((y + 1) * (s.width + 2) + 1) * s.pixel_stride;
    CopyRow(s, image + y * s.width * s.channels, s.channels, to,
            s.pixel_stride);
  }
}

template <typename T>
void UnpadImage(const ConvReluPoolShape& s, const T* padded, T* image) {
  for (int64_t y = 0; y < s.height; ++y) {
    const T* const from =
        padded + ((y + 1) * (s.width + 2) + 1) * s.pixel_stride;
    CopyRow(s, from, s.pixel_stride, image + y * s.width * s.channels,
            s.channels);
  }
}

// kVectors vectors of outputs of kWindows neighbouring windows, the first of
// which has its upper left corner at `corner`, the border included.
template <typename S, int kWindows, int kVectors,
          typename T = typename S::Scalar>
void ForwardTile(const ConvReluPoolShape& s, const T* corner, const T* weight,
                 const T* bias, int64_t outputs, T* pooled, uint8_t* source) {
  using Vector = typename S::Vector;
  using Mask = typename S::Mask;
  const int64_t stride = s.pixel_stride;
  const int64_t row = (s.width + 2) * stride;
  Vector sums[kWindows][4][kVectors];
#pragma GCC unroll 8
  for (int w = 0; w < kWindows; ++w) {
#pragma GCC unroll 4
    for (int q = 0; q < 4; ++q) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        sums[w][q][v] = S::Load(bias + v * S::kLanes);
      }
    }
  }
  for (int ky = 0; ky < 3; ++ky) {
    for (int kx = 0; kx < 3; ++kx) {
      const T* pixel = corner + ky * row + kx * stride;
      for (int64_t c = 0; c < s.channels; ++c) {
        Vector weights[kVectors];
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) {
          weights[v] = S::Load(weight + v * S::kLanes);
        }
#pragma GCC unroll 8
        for (int w = 0; w < kWindows; ++w) {
#pragma GCC unroll 4
          for (int q = 0; q < 4; ++q) {
            const T value = pixel[(q / 2) * row + (2 * w + q % 2) * stride + c];
#pragma GCC unroll 4
            for (int v = 0; v < kVectors; ++v) {
              sums[w][q][v] += weights[v] * value;
            }
          }
        }
        weight += s.padded_outputs;
      }
    }
  }
#pragma GCC unroll 8
  for (int w = 0; w < kWindows; ++w) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      Vector best = sums[w][0][v];
      Mask from = {};
#pragma GCC unroll 4
      for (int q = 1; q < 4; ++q) {
        const Vector& next = sums[w][q][v];
        // As LibTorch has it: the first of equals, and NaN above all.
        const Mask better = (next > best) | (next != next);
        best = better ? next : best;
        from = better ? Mask{} + q : from;
      }
      const Mask off = best <= 0;
      best = off ? Vector{} : best;
      from = off ? Mask{} + kNoSource : from;
      const auto bytes = __builtin_convertvector(from, typename S::Bytes);
      const int64_t left = outputs - v * S::kLanes;
      T* const to = pooled + w * s.outputs + v * S::kLanes;
      uint8_t* const source_to = source + w * s.outputs + v * S::kLanes;
      if (left >= S::kLanes) {
        S::Store(best, to);
        std::memcpy(source_to, &bytes, S::kLanes);
      } else if (left > 0) {
        std::memcpy(to, &best, left * sizeof(T));
        std::memcpy(source_to, &bytes, left);
      }
    }
  }
}

template <typename S, typename T = typename S::Scalar>
void Forward(const ConvReluPoolShape& s, int64_t count, const T* images,
             const T* weight, const T* bias,
             const ConvReluPoolScratch<T>& scratch, T* pooled,
             uint8_t* source) {
  const int64_t stride = s.pixel_stride;
  const int64_t columns = s.width / 2;
  std::memset(scratch.image, 0, PaddedImageSize(s) * sizeof(T));
  for (int64_t i = 0; i < count; ++i) {
    PadImage(s, images + i * ImageSize(s), scratch.image);
    for (int64_t y = 0; y < s.height / 2; ++y) {
      for (int64_t x = 0; x < columns;) {
        const T* const corner =
            scratch.image + (2 * y * (s.width + 2) + 2 * x) * stride;
        const bool full = columns - x >= S::kWindows;
        for (int64_t o = 0; o < s.outputs;) {
          const int64_t left = s.outputs - o;
          if (full && left > S::kLanes) {
            ForwardTile<S, S::kWindows, S::kVectors>(
                s, corner, weight + o, bias + o, left, pooled + o, source + o);
            o += S::kVectors * S::kLanes;
          } else if (full) {
            ForwardTile<S, S::kWindows, 1>(s, corner, weight + o, bias + o,
                                           left, pooled + o, source + o);
            o += S::kLanes;
          } else if (left > S::kLanes) {
            ForwardTile<S, 1, S::kVectors>(s, corner, weight + o, bias + o,
                                           left, pooled + o, source + o);
            o += S::kVectors * S::kLanes;
          } else {
            ForwardTile<S, 1, 1>(s, corner, weight + o, bias + o, left,
                                 pooled + o, source + o);
            o += S::kLanes;
          }
        }
        const int64_t done = full ? S::kWindows : 1;
        x += done;
        pooled += done * s.outputs;
        source += done * s.outputs;
      }
    }
  }
}

// Copies one image's gradient and sources to rows of padded_outputs, with zeros
// where ReLU was off, and adds up the gradient of the bias.
template <typename S, typename T = typename S::Scalar>
void MaskGradient(const ConvReluPoolShape& s, const T* gradient,
                  const uint8_t* source, const ConvReluPoolScratch<T>& scratch,
                  T* bias_gradient) {
  using Vector = typename S::Vector;
  T* to = scratch.gradient;
  uint8_t* source_to = scratch.source;
  for (int64_t i = 0; i < NumWindows(s); ++i) {
    for (int64_t o = 0; o < s.outputs; o += S::kLanes) {
      const int64_t left = s.outputs - o;
      const int64_t copied = left < S::kLanes ? left : S::kLanes;
      if (copied == S::kLanes) {
        // A size that the compiler knows makes this one instruction.
        std::memcpy(to + o, gradient + o, S::kLanes * sizeof(T));
        std::memcpy(source_to + o, source + o, S::kLanes);
      } else {
        std::memcpy(to + o, gradient + o, copied * sizeof(T));
        std::memcpy(source_to + o, source + o, copied);
      }
      const Vector own = S::LoadSource(source_to + o) == kNoSource
                             ? Vector{}
                             : S::Load(to + o);
      S::Store(own, to + o);
      S::Store(S::Load(bias_gradient + o) + own, bias_gradient + o);
    }
    gradient += s.outputs;
    source += s.outputs;
    to += s.padded_outputs;
    source_to += s.padded_outputs;
  }
}

// Every pooled value depends on the nine pixels around its source alone, and
// so does the gradient: a quarter of what a convolution's own backward pass
// works through, whose gradient is zero at the other three.
template <typename S, typename T = typename S::Scalar>
void WeightGradientByOutput(const ConvReluPoolShape& s,
                            const ConvReluPoolScratch<T>& scratch,
                            T* weight_gradient) {
  using Vector = typename S::Vector;
  const int64_t stride = s.pixel_stride;
  const int64_t row = (s.width + 2) * stride;
  const int64_t padded = s.padded_outputs;
  const int64_t offset[] = {0, stride, row, row + stride, 0};
  for (int64_t o = 0; o < s.outputs; ++o) {
    for (int64_t c = 0; c < stride; c += S::kLanes) {
      T* const sums_at = weight_gradient + o * 9 * stride + c;
      Vector sums[9];
#pragma GCC unroll 9
      for (int k = 0; k < 9; ++k) {
        sums[k] = S::Load(sums_at + k * stride);
      }
      const T* gradient = scratch.gradient + o;
      const uint8_t* source = scratch.source + o;
      for (int64_t y = 0; y < s.height / 2; ++y) {
        const T* corner = scratch.image + 2 * y * row + c;
        for (int64_t x = 0; x < s.width / 2; ++x) {
          const T* const pixel = corner + offset[*source];
          const T value = *gradient;
#pragma GCC unroll 9
          for (int k = 0; k < 9; ++k) {
            sums[k] +=
                S::Load(pixel + (k / 3) * row + (k % 3) * stride) * value;
          }
          corner += 2 * stride;
          gradient += padded;
          source += padded;
        }
      }
#pragma GCC unroll 9
      for (int k = 0; k < 9; ++k) {
        S::Store(sums[k], sums_at + k * stride);
      }
    }
  }
}

template <typename S, typename T = typename S::Scalar>
void WeightGradientByChannel(const ConvReluPoolShape& s,
                             const ConvReluPoolScratch<T>& scratch,
                             T* weight_gradient) {
  using Vector = typename S::Vector;
  using Mask = typename S::Mask;
  const int64_t stride = s.pixel_stride;
  const int64_t row = (s.width + 2) * stride;
  const int64_t padded = s.padded_outputs;
  for (int64_t c = 0; c < s.channels; ++c) {
    for (int64_t o = 0; o < s.outputs; o += S::kLanes) {
      T* const sums_at = weight_gradient + c * 9 * padded + o;
      Vector sums[9];
#pragma GCC unroll 9
      for (int k = 0; k < 9; ++k) {
        sums[k] = S::Load(sums_at + k * padded);
      }
      const T* gradient = scratch.gradient + o;
      const uint8_t* source = scratch.source + o;
      for (int64_t y = 0; y < s.height / 2; ++y) {
        const T* corner = scratch.image + 2 * y * row + c;
        for (int64_t x = 0; x < s.width / 2; ++x) {
          const Vector values = S::Load(gradient);
          const Mask from = S::LoadSource(source);
#pragma GCC unroll 4
          for (int q = 0; q < 4; ++q) {
            const Vector own = from == q ? values : Vector{};
            const T* const pixel = corner + (q / 2) * row + (q % 2) * stride;
#pragma GCC unroll 9
            for (int k = 0; k < 9; ++k) {
              sums[k] += own * pixel[(k / 3) * row + (k % 3) * stride];
            }
          }
          corner += 2 * stride;
          gradient += padded;
          source += padded;
        }
      }
#pragma GCC unroll 9
      for (int k = 0; k < 9; ++k) {
        S::Store(sums[k], sums_at + k * padded);
      }
    }
  }
}

template <typename S, typename T = typename S::Scalar>
void ImageGradient(const ConvReluPoolShape& s,
                   const ConvReluPoolScratch<T>& scratch, const T* weight,
                   T* image_gradient) {
  using Vector = typename S::Vector;
  const int64_t stride = s.pixel_stride;
  const int64_t row = (s.width + 2) * stride;
  const int64_t padded = s.padded_outputs;
  std::memset(scratch.image_gradient, 0, PaddedImageSize(s) * sizeof(T));
  const T* gradient = scratch.gradient;
  const uint8_t* source = scratch.source;
  for (int64_t y = 0; y < s.height / 2; ++y) {
    for (int64_t x = 0; x < s.width / 2; ++x) {
      T* const corner = scratch.image_gradient + 2 * y * row + 2 * x * stride;
      // Outputs by source, so that the sums of one source stay in registers.
      // Without a branch: which source it is cannot be predicted.
      int32_t* next[5];
      for (int q = 0; q < 5; ++q) {
        next[q] = scratch.outputs_from + q * s.outputs;
      }
      for (int64_t o = 0; o < s.outputs; ++o) {
        *next[source[o]]++ = static_cast<int32_t>(o);
      }
#pragma GCC unroll 4
      for (int q = 0; q < 4; ++q) {
        const int32_t* const first = scratch.outputs_from + q * s.outputs;
        T* const pixel = corner + (q / 2) * row + (q % 2) * stride;
        for (int64_t c = 0; c < stride; c += S::kLanes) {
          Vector sums[9];
#pragma GCC unroll 9
          for (int k = 0; k < 9; ++k) {
            sums[k] = S::Load(pixel + (k / 3) * row + (k % 3) * stride + c);
          }
          for (const int32_t* o = first; o != next[q]; ++o) {
            const T value = gradient[*o];
            const T* const weights = weight + *o * 9 * stride + c;
#pragma GCC unroll 9
            for (int k = 0; k < 9; ++k) {
              sums[k] += S::Load(weights + k * stride) * value;
            }
          }
#pragma GCC unroll 9
          for (int k = 0; k < 9; ++k) {
            S::Store(sums[k], pixel + (k / 3) * row + (k % 3) * stride + c);
          }
        }
      }
      gradient += padded;
      source += padded;
    }
  }
  UnpadImage(s, scratch.image_gradient, image_gradient);
}

template <typename S, typename T = typename S::Scalar>
void Backward(const ConvReluPoolShape& s, int64_t count, const T* images,
              const T* weight, const T* gradient, const uint8_t* source,
              const ConvReluPoolScratch<T>& scratch, T* weight_gradient,
              T* bias_gradient, T* image_gradient) {
  const int64_t pooled_size = NumWindows(s) * s.outputs;
  const int64_t padded_size = NumWindows(s) * s.padded_outputs;
  std::memset(scratch.image, 0, PaddedImageSize(s) * sizeof(T));
  std::memset(scratch.gradient, 0, padded_size * sizeof(T));
  std::memset(scratch.source, kNoSource, padded_size);
  for (int64_t i = 0; i < count; ++i) {
    PadImage(s, images + i * ImageSize(s), scratch.image);
    MaskGradient<S>(s, gradient + i * pooled_size, source + i * pooled_size,
                    scratch, bias_gradient);
    if (s.by_output) {
      WeightGradientByOutput<S>(s, scratch, weight_gradient);
    } else {
      WeightGradientByChannel<S>(s, scratch, weight_gradient);
    }
    if (image_gradient != nullptr) {
      ImageGradient<S>(s, scratch, weight, image_gradient + i * ImageSize(s));
    }
  }
}

template <typename T, int kBytes>
constexpr ConvReluPoolKernels<T> kKernels = {&Forward<Simd<T, kBytes>>,
                                             &Backward<Simd<T, kBytes>>};

template <int kBytes>
constexpr ConvReluPoolKernelSet KernelSet(const char* instruction_set) {
  return {instruction_set, kKernels<float, kBytes>, kKernels<double, kBytes>};
}

}  // namespace
}  // namespace fedlb::models

#endif  // FEDLB_MODELS_CONV_RELU_POOL_LOOPS_H_
