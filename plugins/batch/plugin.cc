// The plugin `batch`: ways to choose each client's batch size.

#include "fedlb/plugin.h"

#include "batch/constant.h"
#include "batch/curvature.h"
#include "batch/noise_scale.h"
#include "batch/per_client.h"
#include "batch/proportional.h"

namespace fedlb::batch {
namespace {

void RegisterComponents(PluginRegistrar& registrar) {
  registrar.Add<Constant>();
  registrar.Add<Curvature>();
  registrar.Add<NoiseScale>();
  registrar.Add<PerClient>();
  registrar.Add<Proportional>();
}

}  // namespace
}  // namespace fedlb::batch

FEDLB_PLUGIN("batch", "0.1.0", fedlb::batch::RegisterComponents);
