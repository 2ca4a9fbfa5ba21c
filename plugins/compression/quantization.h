// Numbers as small integers that share a scale.

#ifndef FEDLB_PLUGINS_COMPRESSION_QUANTIZATION_H_
#define FEDLB_PLUGINS_COMPRESSION_QUANTIZATION_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "compression/tensor_codec.h"
#include "fedlb/tensor_list.h"

namespace fedlb::compression {

enum class Rounding {
  kNearest,
  kStochastic,  // up or down so that the mean is the value itself
};

struct Quantization {
  // What a bucket's largest code stands for.
  enum class Scale {
    kLargest,  // the largest magnitude in it
    kNorm,     // its L2 norm
    // The largest magnitude within `clip` standard deviations, if there are
    // any.
    kClippedLargest,
  };
  Scale scale = Scale::kLargest;
  Rounding rounding = Rounding::kNearest;
  // Codes are -levels to levels, at most 127; they take 2 bits for one level, 4
  // up to 7, and 8.
  int64_t levels = 127;
  // Values that share a scale, a multiple of 4 so that buckets end with a byte;
  // 0 for a tensor's.
  int64_t bucket = 1024;
  double clip = 0;

  int64_t bits() const { return levels == 1 ? 2 : levels <= 7 ? 4 : 8; }
};

inline constexpr int64_t kLargestBucket = int64_t{1} << 30;

// kConfig unless buckets of this size end with a whole byte.
absl::Status CheckBucket(int64_t bucket);

// Scales of all buckets, and the codes of all tensors; buckets end with their
// tensor, which begins at a whole byte.
TensorList Quantize(const Quantization& quantization, const CodecKey& key,
                    const std::vector<Source>& tensors);
absl::Status Dequantize(const Quantization& quantization,
                        const TensorList& encoded,
                        const std::vector<Target>& tensors);

}  // namespace fedlb::compression

#endif  // FEDLB_PLUGINS_COMPRESSION_QUANTIZATION_H_
