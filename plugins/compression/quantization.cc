#include "compression/quantization.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <utility>

#include <ATen/ops/empty.h>

#include "absl/strings/str_cat.h"
#include "compression/target_clones.h"
#include "fedlb/random.h"
#include "fedlb/status.h"

namespace fedlb::compression {
namespace {

// Codes that are made at a time, before they are packed.
constexpr int64_t kChunk = 1024;

// Magnitudes as bits are in the order of their values.
FEDLB_CLONES uint32_t LargestMagnitude(const float* values, int64_t count) {
  uint32_t largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t magnitude = std::bit_cast<uint32_t>(values[i]) & 0x7fffffff;
    largest = largest > magnitude ? largest : magnitude;
  }
  return largest;
}

// In 16 parts: one sum would wait for itself.
FEDLB_CLONES float SquaredNorm(const float* values, int64_t count) {
  std::array<float, 16> sums{};
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    for (int64_t lane = 0; lane < 16; ++lane) {
      const float value = values[i + lane];
      sums[static_cast<size_t>(lane)] += value * value;
    }
  }
  float total = 0;
  for (; i < count; ++i) {
    total += values[i] * values[i];
  }
  for (const float sum : sums) {
    total += sum;
  }
  return total;
}

// codes = round(values * factor), within -levels and levels.
FEDLB_CLONES void RoundNearest(const float* values, int64_t count, float factor,
                               float levels, int8_t* codes) {
  for (int64_t i = 0; i < count; ++i) {
    const float scaled = values[i] * factor;
    const float high = scaled < levels ? scaled : levels;
    const float clamped = high > -levels ? high : -levels;
    // Adding and taking away 1.5 * 2^23 rounds to the nearest, ties to even.
    codes[i] = static_cast<int8_t>(
        static_cast<int32_t>((clamped + 12582912.0F) - 12582912.0F));
  }
}

// The same, rounded up as often as the value is above the code below. The
// random numbers come from their place and the key (C. Wellons, "lowbias32").
FEDLB_CLONES void RoundStochastic(const float* values, int64_t count,
                                  float factor, float levels, uint32_t key,
                                  uint32_t place, int8_t* codes) {
  for (int64_t i = 0; i < count; ++i) {
    uint32_t x = (place + static_cast<uint32_t>(i)) ^ key;
    x ^= x >> 16;
    x *= 0x7feb352dU;
    x ^= x >> 15;
    x *= 0x846ca68bU;
    x ^= x >> 16;
    const float uniform =
        static_cast<float>(static_cast<int32_t>(x >> 8)) * (1.0F / 16777216.0F);
    const float scaled = values[i] * factor;
    const float high = scaled < levels ? scaled : levels;
    const float clamped = high > -levels ? high : -levels;
    // std::floor is not vectorised.
    const auto towards_zero = static_cast<int32_t>(clamped);
    const int32_t below =
        towards_zero - (static_cast<float>(towards_zero) > clamped ? 1 : 0);
    const int32_t up = uniform < clamped - static_cast<float>(below) ? 1 : 0;
    codes[i] = static_cast<int8_t>(below + up);
  }
}

FEDLB_CLONES void Pack4(const int8_t* codes, int64_t count, uint8_t* bytes) {
  for (int64_t i = 0; i < count / 2; ++i) {
    bytes[i] = static_cast<uint8_t>((codes[2 * i] & 15) |
                                    ((codes[2 * i + 1] & 15) << 4));
  }
}
FEDLB_CLONES void Pack2(const int8_t* codes, int64_t count, uint8_t* bytes) {
  for (int64_t i = 0; i < count / 4; ++i) {
    bytes[i] = static_cast<uint8_t>(
        (codes[4 * i] & 3) | ((codes[4 * i + 1] & 3) << 2) |
        ((codes[4 * i + 2] & 3) << 4) | ((codes[4 * i + 3] & 3) << 6));
  }
}
// Shifts to the top and back again extend the sign.
FEDLB_CLONES void Unpack4(const uint8_t* bytes, int64_t count, int8_t* codes) {
  for (int64_t i = 0; i < count / 2; ++i) {
    codes[2 * i] = static_cast<int8_t>(static_cast<int8_t>(bytes[i] << 4) >> 4);
    codes[2 * i + 1] = static_cast<int8_t>(static_cast<int8_t>(bytes[i]) >> 4);
  }
}
FEDLB_CLONES void Unpack2(const uint8_t* bytes, int64_t count, int8_t* codes) {
  for (int64_t i = 0; i < count / 4; ++i) {
    for (int64_t part = 0; part < 4; ++part) {
      codes[4 * i + part] = static_cast<int8_t>(
          static_cast<int8_t>(bytes[i] << (6 - 2 * part)) >> 6);
    }
  }
}
FEDLB_CLONES void Scale(const int8_t* codes, int64_t count, float step,
                        float* values) {
  for (int64_t i = 0; i < count; ++i) {
    values[i] = static_cast<float>(codes[i]) * step;
  }
}

int64_t BytesOf(const Quantization& quantization, int64_t count) {
  return (count * quantization.bits() + 7) / 8;
}

int64_t BucketOf(const Quantization& quantization, int64_t count) {
  return quantization.bucket > 0 ? quantization.bucket
                                 : std::max<int64_t>(count, 1);
}

int64_t BucketsOf(const Quantization& quantization, int64_t count) {
  const int64_t bucket = BucketOf(quantization, count);
  return (count + bucket - 1) / bucket;
}

float ScaleOf(const Quantization& quantization, const float* values,
              int64_t count) {
  if (quantization.scale == Quantization::Scale::kNorm) {
    return std::sqrt(SquaredNorm(values, count));
  }
  const auto largest = std::bit_cast<float>(LargestMagnitude(values, count));
  if (quantization.scale == Quantization::Scale::kLargest) {
    return largest;
  }
  double sum = 0;
  double squares = 0;
  for (int64_t i = 0; i < count; ++i) {
    const auto value = static_cast<double>(values[i]);
    sum += value;
    squares += value * value;
  }
  const double mean = sum / static_cast<double>(count);
  const double variance = squares / static_cast<double>(count) - mean * mean;
  // Equal values have none but for rounding, and infinite ones none at all.
  constexpr double kRounding = 1e-12;
  if (!(variance > kRounding * squares / static_cast<double>(count))) {
    return largest;
  }
  return std::min(largest,
                  static_cast<float>(quantization.clip * std::sqrt(variance)));
}

// Packs or unpacks kChunk codes; what is missing of a byte is 0.
void Pack(int64_t bits, int8_t* codes, int64_t count, uint8_t* bytes) {
  if (bits == 8) {
    std::copy_n(reinterpret_cast<const uint8_t*>(codes), count, bytes);
    return;
  }
  const int64_t per_byte = 8 / bits;
  const int64_t whole = (count + per_byte - 1) / per_byte * per_byte;
  std::fill(codes + count, codes + whole, int8_t{0});
  bits == 4 ? Pack4(codes, whole, bytes) : Pack2(codes, whole, bytes);
}
void Unpack(int64_t bits, const uint8_t* bytes, int64_t count, int8_t* codes) {
  if (bits == 8) {
    std::copy_n(reinterpret_cast<const int8_t*>(bytes), count, codes);
    return;
  }
  const int64_t per_byte = 8 / bits;
  const int64_t whole = (count + per_byte - 1) / per_byte * per_byte;
  bits == 4 ? Unpack4(bytes, whole, codes) : Unpack2(bytes, whole, codes);
}

template <typename Tensors>
std::pair<int64_t, int64_t> SizesOf(const Quantization& quantization,
                                    const Tensors& tensors) {
  int64_t buckets = 0;
  int64_t bytes = 0;
  for (const auto& tensor : tensors) {
    const auto count = static_cast<int64_t>(tensor.values.size());
    buckets += BucketsOf(quantization, count);
    bytes += BytesOf(quantization, count);
  }
  return {buckets, bytes};
}

}  // namespace

absl::Status CheckBucket(int64_t bucket) {
  return bucket % 4 == 0 ? absl::OkStatus()
                         : ConfigError(absl::StrCat("bucket = ", bucket,
                                                    " is not a multiple of 4"));
}

TensorList Quantize(const Quantization& quantization, const CodecKey& key,
                    const std::vector<Source>& tensors) {
  const auto [buckets, bytes] = SizesOf(quantization, tensors);
  at::Tensor scales = at::empty({buckets}, at::kFloat);
  at::Tensor packed = at::empty({bytes}, at::kByte);
  auto* scale = scales.mutable_data_ptr<float>();
  auto* byte = packed.mutable_data_ptr<uint8_t>();
  const auto random_key = static_cast<uint32_t>(
      HashKey({key.seed, "quantization", key.round, key.client}));
  const auto levels = static_cast<float>(quantization.levels);
  uint32_t place = 0;
  std::array<int8_t, kChunk + 4> codes;
  for (const Source& tensor : tensors) {
    const auto count = static_cast<int64_t>(tensor.values.size());
    const int64_t bucket = BucketOf(quantization, count);
    for (int64_t begin = 0; begin < count; begin += bucket) {
      const float* const values = tensor.values.data() + begin;
      const int64_t size = std::min(bucket, count - begin);
      *scale = ScaleOf(quantization, values, size);
      // Of a bucket of zeros, and of one whose inverse is beyond all numbers.
      const float inverse = levels / *scale;
      const float factor = std::isfinite(inverse) ? inverse : 0.0F;
      ++scale;
      for (int64_t at = 0; at < size; at += kChunk) {
        const int64_t length = std::min(kChunk, size - at);
        if (quantization.rounding == Rounding::kNearest) {
          RoundNearest(values + at, length, factor, levels, codes.data());
        } else {
          RoundStochastic(values + at, length, factor, levels, random_key,
                          place, codes.data());
        }
        Pack(quantization.bits(), codes.data(), length, byte);
        byte += BytesOf(quantization, length);
        place += static_cast<uint32_t>(length);
      }
    }
  }
  return {scales, packed};
}

absl::Status Dequantize(const Quantization& quantization,
                        const TensorList& encoded,
                        const std::vector<Target>& tensors) {
  const auto [buckets, bytes] = SizesOf(quantization, tensors);
  FEDLB_RETURN_IF_ERROR(CheckCount(encoded, 2));
  FEDLB_RETURN_IF_ERROR(CheckVector(encoded[0], at::kFloat, buckets));
  FEDLB_RETURN_IF_ERROR(CheckVector(encoded[1], at::kByte, bytes));
  const auto* scale = encoded[0].const_data_ptr<float>();
  const auto* byte = encoded[1].const_data_ptr<uint8_t>();
  const auto levels = static_cast<float>(quantization.levels);
  std::array<int8_t, kChunk + 4> codes;
  for (const Target& tensor : tensors) {
    const auto count = static_cast<int64_t>(tensor.values.size());
    const int64_t bucket = BucketOf(quantization, count);
    for (int64_t begin = 0; begin < count; begin += bucket) {
      const int64_t size = std::min(bucket, count - begin);
      const float step = *scale++ / levels;
      for (int64_t at = 0; at < size; at += kChunk) {
        const int64_t length = std::min(kChunk, size - at);
        Unpack(quantization.bits(), byte, length, codes.data());
        byte += BytesOf(quantization, length);
        Scale(codes.data(), length, step, tensor.values.data() + begin + at);
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace fedlb::compression
