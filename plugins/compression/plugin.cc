#include "fedlb/plugin.h"

#include "compression/none.h"

namespace fedlb::compression {
namespace {

void RegisterComponents(PluginRegistrar& registrar) { registrar.Add<None>(); }

}  // namespace
}  // namespace fedlb::compression

FEDLB_PLUGIN("compression", "0.1.0", fedlb::compression::RegisterComponents);
