// The plugin `sampling`: ways to choose the clients of a round.

#include "fedlb/plugin.h"

#include "sampling/all.h"
#include "sampling/availability.h"
#include "sampling/uniform.h"
#include "sampling/weighted.h"

namespace fedlb::sampling {
namespace {

void RegisterComponents(PluginRegistrar& registrar) {
  registrar.Add<Uniform>();
  registrar.Add<All>();
  registrar.Add<Weighted>();
  registrar.Add<Availability>();
}

}  // namespace
}  // namespace fedlb::sampling

FEDLB_PLUGIN("sampling", "0.1.0", fedlb::sampling::RegisterComponents);
