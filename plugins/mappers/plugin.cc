#include "fedlb/plugin.h"

#include "mappers/identity.h"
#include "mappers/step.h"

namespace fedlb::mappers {
namespace {

void RegisterComponents(PluginRegistrar& registrar) {
  registrar.Add<Identity>();
  registrar.Add<Step>();
}

}  // namespace
}  // namespace fedlb::mappers

FEDLB_PLUGIN("mappers", "0.1.0", fedlb::mappers::RegisterComponents);
