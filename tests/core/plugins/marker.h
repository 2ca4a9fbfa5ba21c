// Leaves a trace when any code of a library runs.

#ifndef FEDLB_TESTS_CORE_PLUGINS_MARKER_H_
#define FEDLB_TESTS_CORE_PLUGINS_MARKER_H_

#include <cstdio>
#include <cstdlib>

namespace {

// Static constructors are the first code of a library; this one makes the file
// that FIXTURE_MARKER names.
struct Marker {
  Marker() {
    const char* path = std::getenv("FIXTURE_MARKER");
    std::FILE* file = path != nullptr ? std::fopen(path, "w") : nullptr;
    if (file != nullptr) {
      std::fclose(file);
    }
  }
};
const Marker kMarker;

}  // namespace

#endif  // FEDLB_TESTS_CORE_PLUGINS_MARKER_H_
