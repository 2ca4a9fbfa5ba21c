// A plugin whose registration, or whose static constructor, fails.

#include <stdexcept>

#include <c10/util/Exception.h>

#include "fedlb/plugin.h"

// Defined in no library.
void fixture_is_nowhere();

namespace {

#if defined(FIXTURE_THROWS_EARLY)
struct Thrower {
  Thrower() { throw std::runtime_error("the constructor's exception"); }
};
const Thrower kThrower;
#endif

void RegisterComponents(fedlb::PluginRegistrar&) { FIXTURE_FAIL; }

}  // namespace

FEDLB_PLUGIN("failing", "1.2.3", RegisterComponents);
