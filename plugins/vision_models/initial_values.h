// Initial values of parameters, with the conventions of PyTorch.

#ifndef FEDLB_PLUGINS_VISION_MODELS_INITIAL_VALUES_H_
#define FEDLB_PLUGINS_VISION_MODELS_INITIAL_VALUES_H_

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "fedlb/component.h"

namespace fedlb::vision_models {

// What the elements of one parameter are drawn from.
struct Distribution {
  enum class Family { kConstant, kUniform, kNormal };

  Family family = Family::kConstant;
  // The constant; the bound b of the uniform distribution on [-b, b); the
  // standard deviation of the normal one with mean 0.
  double scale = 0;
  // Normal values beyond +-limit are drawn again; 0 for no limit.
  double limit = 0;
};

Distribution Constant(double value);
Distribution UniformWithin(double bound);
Distribution NormalWith(double deviation);
// torch.nn.init.trunc_normal_ with its default bounds of -2 and 2.
Distribution TruncatedNormal(double deviation);

// The default of torch.nn.Linear and torch.nn.Conv2d, weight and bias alike:
// uniform within 1/sqrt(fan_in).
Distribution PytorchDefault(int64_t fan_in);
// K. He et al., "Delving Deep into Rectifiers", ICCV 2015, Eq 14: variance
// 2/fan, here over the outgoing connections.
Distribution HeFanOut(int64_t fan_out);
// X. Glorot and Y. Bengio, "Understanding the difficulty of training deep
// feedforward neural networks", AISTATS 2010, Eq 16.
Distribution XavierUniform(int64_t fan_in, int64_t fan_out);

// A tensor of the context's type and device. Its values depend on the
// context's seed and on the parameter's name, neither on other parameters nor
// on any generator of LibTorch.
at::Tensor Draw(const Distribution& distribution, const std::string& name,
                const std::vector<int64_t>& sizes,
                const ComponentContext& context);

}  // namespace fedlb::vision_models

#endif  // FEDLB_PLUGINS_VISION_MODELS_INITIAL_VALUES_H_
