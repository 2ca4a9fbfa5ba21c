#include "fedlb/plugin.h"

#include "aggregation/bulyan.h"
#include "aggregation/centered_clipping.h"
#include "aggregation/dp_mean.h"
#include "aggregation/fednova.h"
#include "aggregation/fltrust.h"
#include "aggregation/geometric_median.h"
#include "aggregation/krum.h"
#include "aggregation/mean.h"
#include "aggregation/median.h"
#include "aggregation/norm_clipping.h"
#include "aggregation/trimmed_mean.h"

namespace fedlb::aggregation {
namespace {

void RegisterComponents(PluginRegistrar& registrar) {
  registrar.Add<Mean>();
  registrar.Add<FedNova>();
  registrar.Add<CoordinateMedian>();
  registrar.Add<TrimmedMeanRule>();
  registrar.Add<Krum>();
  registrar.Add<Bulyan>();
  registrar.Add<GeometricMedian>();
  registrar.Add<NormClipping>();
  registrar.Add<CenteredClipping>();
  registrar.Add<FlTrust>();
  registrar.Add<DpMean>();
}

}  // namespace
}  // namespace fedlb::aggregation

FEDLB_PLUGIN("aggregation", "0.1.0", fedlb::aggregation::RegisterComponents);
