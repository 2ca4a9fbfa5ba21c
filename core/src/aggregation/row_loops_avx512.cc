// Compiled for AVX-512: see CMakeLists.txt.
#if defined(__x86_64__)

#include "aggregation/row_loops.h"

namespace fedlb {

constinit const RowLoopSet kRowLoopsAvx512 = {MakeRowLoops<float>(),
                                              MakeRowLoops<double>()};

}  // namespace fedlb

#endif
