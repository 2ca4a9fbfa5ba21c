// The plugin `data`: datasets in memory.

#include "fedlb/plugin.h"

#include "data/caltech101.h"
#include "data/cifar.h"
#include "data/food101.h"
#include "data/idx.h"
#include "data/image_folder.h"
#include "data/mnist.h"
#include "data/synthetic.h"
#include "data/tensors.h"

namespace fedlb::data {
namespace {

void RegisterComponents(PluginRegistrar& registrar) {
  registrar.Add<Caltech101>();
  registrar.Add<Cifar10>();
  registrar.Add<Cifar100>();
  registrar.Add<Food101>();
  registrar.Add<Idx>();
  registrar.Add<ImageFolder>();
  registrar.Add<Mnist>();
  registrar.Add<FashionMnist>();
  registrar.Add<Synthetic>();
  registrar.Add<Tensors>();
}

}  // namespace
}  // namespace fedlb::data

FEDLB_PLUGIN("data", "0.1.0", fedlb::data::RegisterComponents);
