// Signs as bits.

#ifndef FEDLB_PLUGINS_COMPRESSION_SIGN_KERNELS_H_
#define FEDLB_PLUGINS_COMPRESSION_SIGN_KERNELS_H_

#include <cstdint>

#include "absl/types/span.h"

namespace fedlb::compression {

// Bit i % 8 of byte i / 8 is set where value i is negative (-0 counts as such);
// the bits after the last value are 0. Returns the sum of magnitudes.
double PackSigns(absl::Span<const float> values, uint8_t* bits);

// The reverse: -scale where the bit is set, scale elsewhere.
void UnpackSigns(const uint8_t* bits, float scale, absl::Span<float> values);

}  // namespace fedlb::compression

#endif  // FEDLB_PLUGINS_COMPRESSION_SIGN_KERNELS_H_
