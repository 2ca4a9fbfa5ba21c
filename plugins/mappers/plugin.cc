#include "fedlb/plugin.h"

#include "mappers/adascale.h"
#include "mappers/extrapolation.h"
#include "mappers/identity.h"
#include "mappers/noise.h"
#include "mappers/norm_match.h"
#include "mappers/step.h"

namespace fedlb::mappers {
namespace {

void RegisterComponents(PluginRegistrar& registrar) {
  registrar.Add<AdaScale>();
  registrar.Add<Extrapolation>();
  registrar.Add<FisherNoise>();
  registrar.Add<GaussianNoise>();
  registrar.Add<Identity>();
  registrar.Add<MicrobatchNoise>();
  registrar.Add<NormMatch>();
  registrar.Add<Step>();
}

}  // namespace
}  // namespace fedlb::mappers

FEDLB_PLUGIN("mappers", "0.1.0", fedlb::mappers::RegisterComponents);
