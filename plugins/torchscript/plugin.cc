#include "fedlb/plugin.h"

#include "torchscript/torchscript.h"

namespace fedlb::torchscript {
namespace {

void RegisterComponents(PluginRegistrar& registrar) {
  registrar.Add<TorchScript>();
}

}  // namespace
}  // namespace fedlb::torchscript

FEDLB_PLUGIN("torchscript", "0.1.0", fedlb::torchscript::RegisterComponents);
