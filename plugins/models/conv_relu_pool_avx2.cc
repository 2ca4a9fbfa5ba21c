// Compiled for AVX2: see CMakeLists.txt.
#if defined(__x86_64__)

#include "models/conv_relu_pool_loops.h"

namespace fedlb::models {

constinit const ConvReluPoolKernelSet kConvReluPoolAvx2 = KernelSet<32>("avx2");

}  // namespace fedlb::models

#endif
