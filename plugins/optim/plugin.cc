#include "fedlb/plugin.h"

#include "optim/adam.h"
#include "optim/adamw.h"
#include "optim/fedopt.h"
#include "optim/lamb.h"
#include "optim/lars.h"
#include "optim/lr_schedules.h"
#include "optim/sgd.h"

namespace fedlb::optim {
namespace {

void RegisterComponents(PluginRegistrar& registrar) {
  registrar.Add<Sgd>();
  registrar.Add<Adam>();
  registrar.Add<AdamW>();
  registrar.Add<Lars>();
  registrar.Add<TvLars>();
  registrar.Add<Lamb>();
  registrar.Add<FedAvgM>();
  registrar.Add<FedAdam>();
  registrar.Add<FedYogi>();
  registrar.Add<Constant>();
  registrar.Add<Cosine>();
  registrar.Add<LinearWarmup>();
  registrar.Add<WarmupCosine>();
  registrar.Add<Step>();
  registrar.Add<Exponential>();
  registrar.Add<Polynomial>();
}

}  // namespace
}  // namespace fedlb::optim

FEDLB_PLUGIN("optim", "0.1.0", fedlb::optim::RegisterComponents);
