#include "fedlb/plugin.h"

#include "thrift/thrift_transport.h"

namespace fedlb::thrift {
namespace {

void RegisterComponents(PluginRegistrar& registrar) {
  registrar.Add<ThriftTransport>();
}

}  // namespace
}  // namespace fedlb::thrift

FEDLB_PLUGIN("thrift", "0.1.0", fedlb::thrift::RegisterComponents);
