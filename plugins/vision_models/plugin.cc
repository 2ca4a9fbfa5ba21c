#include "fedlb/plugin.h"

#include "vision_models/alexnet.h"
#include "vision_models/cifar_resnet.h"
#include "vision_models/lenet5.h"
#include "vision_models/resnet.h"
#include "vision_models/vgg.h"
#include "vision_models/vit.h"

namespace fedlb::vision_models {
namespace {

void RegisterComponents(PluginRegistrar& registrar) {
  registrar.Add<Lenet5>();
  registrar.Add<ResNet8>();
  registrar.Add<ResNet20>();
  registrar.Add<ResNet18>();
  registrar.Add<ResNet34>();
  registrar.Add<ResNet50>();
  registrar.Add<ResNet101>();
  registrar.Add<Vgg11>();
  registrar.Add<Vgg16>();
  registrar.Add<AlexNet>();
  registrar.Add<VitB16>();
  registrar.Add<VitTiny>();
}

}  // namespace
}  // namespace fedlb::vision_models

FEDLB_PLUGIN("vision_models", "0.1.0",
             fedlb::vision_models::RegisterComponents);
