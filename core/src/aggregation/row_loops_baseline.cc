#include "aggregation/row_loops.h"

namespace fedlb {

constinit const RowLoopSet kRowLoopsBaseline = {MakeRowLoops<float>(),
                                                MakeRowLoops<double>()};

}  // namespace fedlb
