// A library that is no plugin.

#include "core/plugins/marker.h"

extern "C" __attribute__((visibility("default"))) int fixture_answer() {
  return 42;
}
