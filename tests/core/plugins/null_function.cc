// A plugin without a function that registers anything.

#include "fedlb/plugin.h"

FEDLB_PLUGIN("null_function", "1.2.3", nullptr);
