#include "fedlb/plugin.h"

#include "algorithms/attack.h"
#include "algorithms/feddyn.h"
#include "algorithms/fedprox.h"
#include "algorithms/none.h"
#include "algorithms/scaffold.h"

namespace fedlb::algorithms {
namespace {

void RegisterComponents(PluginRegistrar& registrar) {
  registrar.Add<None>();
  registrar.Add<FedProx>();
  registrar.Add<Scaffold>();
  registrar.Add<FedDyn>();
  registrar.Add<Attack>();
}

}  // namespace
}  // namespace fedlb::algorithms

FEDLB_PLUGIN("algorithms", "0.1.0", fedlb::algorithms::RegisterComponents);
