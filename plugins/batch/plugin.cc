// The plugin `batch`: ways to choose each client's batch size.

#include "fedlb/plugin.h"

#include "batch/constant.h"
#include "batch/per_client.h"

namespace fedlb::batch {
namespace {

void RegisterComponents(PluginRegistrar& registrar) {
  registrar.Add<Constant>();
  registrar.Add<PerClient>();
}

}  // namespace
}  // namespace fedlb::batch

FEDLB_PLUGIN("batch", "0.1.0", fedlb::batch::RegisterComponents);
