#include "fedlb/plugin.h"

#include "compression/adaptive.h"
#include "compression/half.h"
#include "compression/int8.h"
#include "compression/none.h"
#include "compression/powersgd.h"
#include "compression/qsgd.h"
#include "compression/randomk.h"
#include "compression/signsgd.h"
#include "compression/terngrad.h"
#include "compression/topk.h"

namespace fedlb::compression {
namespace {

void RegisterComponents(PluginRegistrar& registrar) {
  registrar.Add<None>();
  registrar.Add<TopK>();
  registrar.Add<RandomK>();
  registrar.Add<Qsgd>();
  registrar.Add<TernGrad>();
  registrar.Add<Int8>();
  registrar.Add<SignSgd>();
  registrar.Add<PowerSgd>();
  registrar.Add<Half>();
  registrar.Add<Adaptive>();
}

}  // namespace
}  // namespace fedlb::compression

FEDLB_PLUGIN("compression", "0.1.0", fedlb::compression::RegisterComponents);
