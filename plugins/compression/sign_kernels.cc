#include "compression/sign_kernels.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>

#include "compression/target_clones.h"

namespace fedlb::compression {
namespace {

// What is packed and summed while it is in the cache.
constexpr size_t kBlock = 4096;
constexpr uint32_t kSignBit = uint32_t{1} << 31;

// In 32 parts, and those in double: kBlock floats lose little.
FEDLB_CLONES double SumOfMagnitudes(const float* values, size_t count) {
  constexpr size_t kLanes = 32;
  std::array<float, kLanes> sums{};
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      sums[lane] += std::bit_cast<float>(
          std::bit_cast<uint32_t>(values[i + lane]) & ~kSignBit);
    }
  }
  double total = 0;
  for (; i < count; ++i) {
    total += static_cast<double>(
        std::bit_cast<float>(std::bit_cast<uint32_t>(values[i]) & ~kSignBit));
  }
  for (const float sum : sums) {
    total += static_cast<double>(sum);
  }
  return total;
}

// Eight values to a byte.
FEDLB_CLONES void PackBlock(const float* values, size_t count, uint8_t* bits) {
  for (size_t byte = 0; byte < count / 8; ++byte) {
    uint32_t packed = 0;
    for (size_t i = 0; i < 8; ++i) {
      packed |= (std::bit_cast<uint32_t>(values[8 * byte + i]) >> 31) << i;
    }
    bits[byte] = static_cast<uint8_t>(packed);
  }
}

FEDLB_CLONES void UnpackBlock(const uint8_t* bits, size_t count, uint32_t scale,
                              float* values) {
  for (size_t byte = 0; byte < count / 8; ++byte) {
    for (uint32_t i = 0; i < 8; ++i) {
      const uint32_t sign =
          (static_cast<uint32_t>(bits[byte]) << (31 - i)) & kSignBit;
      values[8 * byte + i] = std::bit_cast<float>(scale ^ sign);
    }
  }
}

}  // namespace

double PackSigns(absl::Span<const float> values, uint8_t* bits) {
  double sum = 0;
  for (size_t begin = 0; begin < values.size(); begin += kBlock) {
    const size_t count = std::min(kBlock, values.size() - begin);
    sum += SumOfMagnitudes(values.data() + begin, count);
    PackBlock(values.data() + begin, count, bits + begin / 8);
  }
  if (const size_t rest = values.size() % 8; rest > 0) {
    std::array<float, 8> padded{};
    std::copy(values.end() - static_cast<ptrdiff_t>(rest), values.end(),
              padded.begin());
    PackBlock(padded.data(), 8, bits + values.size() / 8);
  }
  return sum;
}

void UnpackSigns(const uint8_t* bits, float scale, absl::Span<float> values) {
  const auto pattern = std::bit_cast<uint32_t>(scale);
  UnpackBlock(bits, values.size(), pattern, values.data());
  if (const size_t rest = values.size() % 8; rest > 0) {
    std::array<float, 8> last;
    UnpackBlock(bits + values.size() / 8, 8, pattern, last.data());
    std::copy_n(last.begin(), rest,
                values.end() - static_cast<ptrdiff_t>(rest));
  }
}

}  // namespace fedlb::compression
