#include "fedlb/plugin.h"

#include "sync/post_local.h"
#include "sync/selsync.h"
#include "sync/sync_policies.h"

namespace fedlb::sync {
namespace {

void RegisterComponents(PluginRegistrar& registrar) {
  registrar.Add<Bsp>();
  registrar.Add<FedAvg>();
  registrar.Add<PostLocal>();
  registrar.Add<SelSync>();
}

}  // namespace
}  // namespace fedlb::sync

FEDLB_PLUGIN("sync", "0.1.0", fedlb::sync::RegisterComponents);
