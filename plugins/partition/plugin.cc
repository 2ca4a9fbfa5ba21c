// The plugin `partition`: ways to deal the training examples to clients.

#include "fedlb/plugin.h"

#include "partition/by_list.h"
#include "partition/dirichlet.h"
#include "partition/iid.h"
#include "partition/labels_per_client.h"
#include "partition/quantity.h"
#include "partition/shards.h"

namespace fedlb::partition {
namespace {

void RegisterComponents(PluginRegistrar& registrar) {
  registrar.Add<Iid>();
  registrar.Add<LabelsPerClient>();
  registrar.Add<Dirichlet>();
  registrar.Add<Shards>();
  registrar.Add<Quantity>();
  registrar.Add<ByList>();
}

}  // namespace
}  // namespace fedlb::partition

FEDLB_PLUGIN("partition", "0.1.0", fedlb::partition::RegisterComponents);
