#include "fedlb/plugin.h"

#include "aggregation/fednova.h"
#include "aggregation/mean.h"

namespace fedlb::aggregation {
namespace {

void RegisterComponents(PluginRegistrar& registrar) {
  registrar.Add<Mean>();
  registrar.Add<FedNova>();
}

}  // namespace
}  // namespace fedlb::aggregation

FEDLB_PLUGIN("aggregation", "0.1.0", fedlb::aggregation::RegisterComponents);
