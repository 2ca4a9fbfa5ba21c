#include "models/layers.h"

#include <cmath>

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "fedlb/random.h"
#include "fedlb/status.h"

namespace fedlb::models {
namespace {

RandomStream StreamOf(uint64_t seed, int64_t tensor) {
  return RandomStream({.seed = seed, .purpose = "model_init", .step = tensor});
}

std::string ShapeText(const std::vector<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

}  // namespace

std::vector<std::pair<std::string, Initialization>> InitializationChoices() {
  return {{"pytorch", Initialization::kPytorch}, {"he", Initialization::kHe}};
}

LayerInitializer::LayerInitializer(Initialization kind,
                                   const ComponentContext& context)
    : kind_(kind),
      seed_(context.seed),
      device_(context.device),
      dtype_(context.dtype) {}

// K. He et al., "Delving Deep into Rectifiers", ICCV 2015, Eq 10, for kHe.
// kPytorch is the default of torch.nn.Linear and torch.nn.Conv2d: the uniform
// form of the same rule for leaky rectifiers of slope sqrt(5), whose bound
// works out at 1/sqrt(fan_in).
at::Tensor LayerInitializer::Weight(const std::vector<int64_t>& sizes) {
  outputs_ = sizes.front();
  fan_in_ = 1;
  for (size_t i = 1; i < sizes.size(); ++i) {
    fan_in_ *= sizes[i];
  }
  const auto inputs = static_cast<double>(fan_in_);
  switch (kind_) {
    case Initialization::kPytorch:
      return Uniform(sizes, 1 / std::sqrt(inputs));
    case Initialization::kHe:
      return Normal(sizes, std::sqrt(2 / inputs));
    case Initialization::kZeros:
      break;
  }
  return Uniform(sizes, 0);
}

at::Tensor LayerInitializer::Bias() {
  const double bound = kind_ == Initialization::kPytorch
                           ? 1 / std::sqrt(static_cast<double>(fan_in_))
                           : 0;
  return Uniform({outputs_}, bound);
}

at::Tensor LayerInitializer::Uniform(const std::vector<int64_t>& sizes,
                                     double bound) {
  RandomStream random = StreamOf(seed_, num_tensors_++);
  if (bound == 0) {
    return Finish(at::zeros(sizes, at::kDouble));
  }
  at::Tensor values = at::empty(sizes, at::kDouble);
  double* data = values.mutable_data_ptr<double>();
  for (int64_t i = 0; i < values.numel(); ++i) {
    data[i] = bound * (2 * random.Uniform() - 1);
  }
  return Finish(values);
}

at::Tensor LayerInitializer::Normal(const std::vector<int64_t>& sizes,
                                    double deviation) {
  RandomStream random = StreamOf(seed_, num_tensors_++);
  at::Tensor values = at::empty(sizes, at::kDouble);
  double* data = values.mutable_data_ptr<double>();
  for (int64_t i = 0; i < values.numel(); ++i) {
    data[i] = deviation * random.Normal();
  }
  return Finish(values);
}

// Drawing in double for every type makes a float model the rounded double one.
at::Tensor LayerInitializer::Finish(const at::Tensor& values) const {
  return values.to(values.options().device(device_).dtype(dtype_));
}

absl::Status CheckClassification(absl::string_view model,
                                 const ComponentContext& context) {
  if (context.num_classes < 1) {
    return ConfigError(
        absl::StrCat("model ", model, " needs a dataset with classes"));
  }
  int64_t elements = 1;
  for (const int64_t size : context.example_shape) {
    elements *= size;
  }
  if (context.example_shape.empty() || elements < 1) {
    return ConfigError(
        absl::StrCat("model ", model,
                     " needs examples with at least one element, the "
                     "dataset has ",
                     ShapeText(context.example_shape)));
  }
  return absl::OkStatus();
}

absl::Status CheckImages(absl::string_view model, int64_t min_side,
                         const ComponentContext& context) {
  FEDLB_RETURN_IF_ERROR(CheckClassification(model, context));
  const std::vector<int64_t>& shape = context.example_shape;
  if (shape.size() != 3 || shape[1] < min_side || shape[2] < min_side) {
    return ConfigError(
        absl::StrCat("model ", model,
                     " needs images [channels, height, width] with sides "
                     "of at least ",
                     min_side, ", the dataset has ", ShapeText(shape),
                     "; model mlp takes examples of any shape"));
  }
  return absl::OkStatus();
}

}  // namespace fedlb::models
