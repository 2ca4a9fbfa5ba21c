// The plugin `sampling`: ways to choose the clients of a round.

#include "fedlb/plugin.h"

#include "sampling/uniform.h"

namespace fedlb::sampling {
namespace {

void RegisterComponents(PluginRegistrar& registrar) {
  registrar.Add<Uniform>();
}

}  // namespace
}  // namespace fedlb::sampling

FEDLB_PLUGIN("sampling", "0.1.0", fedlb::sampling::RegisterComponents);
