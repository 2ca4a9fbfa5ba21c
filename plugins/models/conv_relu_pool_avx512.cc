// Compiled for AVX-512: see CMakeLists.txt.
#if defined(__x86_64__)

#include "models/conv_relu_pool_loops.h"

namespace fedlb::models {

constinit const ConvReluPoolKernelSet kConvReluPoolAvx512 =
    KernelSet<64>("avx512");

}  // namespace fedlb::models

#endif
