#include "fedlb/plugin.h"

#include "inprocess/inprocess_transport.h"

namespace fedlb::inprocess {
namespace {

void RegisterComponents(PluginRegistrar& registrar) {
  registrar.Add<InprocessTransport>();
}

}  // namespace
}  // namespace fedlb::inprocess

FEDLB_PLUGIN("inprocess", "0.1.0", fedlb::inprocess::RegisterComponents);
