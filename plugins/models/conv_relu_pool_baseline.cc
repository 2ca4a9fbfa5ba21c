#include "models/conv_relu_pool_loops.h"

namespace fedlb::models {

constinit const ConvReluPoolKernelSet kConvReluPoolBaseline =
    KernelSet<16>("baseline");

}  // namespace fedlb::models
