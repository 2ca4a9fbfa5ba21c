#include "fedlb/plugin.h"

#include "algorithms/fedprox.h"
#include "algorithms/none.h"

namespace fedlb::algorithms {
namespace {

void RegisterComponents(PluginRegistrar& registrar) {
  registrar.Add<None>();
  registrar.Add<FedProx>();
}

}  // namespace
}  // namespace fedlb::algorithms

FEDLB_PLUGIN("algorithms", "0.1.0", fedlb::algorithms::RegisterComponents);
