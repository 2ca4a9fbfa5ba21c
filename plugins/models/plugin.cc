#include "fedlb/plugin.h"

#include "models/cnn.h"
#include "models/dense.h"

namespace fedlb::models {
namespace {

void RegisterComponents(PluginRegistrar& registrar) {
  registrar.Add<Logistic>();
  registrar.Add<Mlp>();
  registrar.Add<Cnn>();
  registrar.Add<CnnStrided>();
}

}  // namespace
}  // namespace fedlb::models

FEDLB_PLUGIN("models", "0.1.0", fedlb::models::RegisterComponents);
