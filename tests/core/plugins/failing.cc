// A plugin whose registration fails.

#include <stdexcept>

#include <c10/util/Exception.h>

#include "fedlb/plugin.h"

// Defined in no library.
void fixture_is_nowhere();

namespace {

void RegisterComponents(fedlb::PluginRegistrar&) { FIXTURE_FAIL; }

}  // namespace

FEDLB_PLUGIN("failing", "1.2.3", RegisterComponents);
