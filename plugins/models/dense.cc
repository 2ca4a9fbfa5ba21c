#include "models/dense.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "fedlb/linear.h"
#include "fedlb/status.h"

namespace fedlb::models {
namespace {

int64_t ExampleSize(const ComponentContext& context) {
  int64_t size = 1;
  for (const int64_t side : context.example_shape) {
    size *= side;
  }
  return size;
}

}  // namespace

ParamSchema<LogisticOptions> Logistic::Schema() {
  return ParamSchema<Options>().AddChoice(
      "initialization", &Options::initialization,
      {{"pytorch", Initialization::kPytorch},
       {"zeros", Initialization::kZeros}},
      "Initial weights: \"pytorch\" draws weights and biases uniformly within "
      "1/sqrt(fan_in); \"zeros\" is the usual start of a convex problem.");
}

absl::StatusOr<std::unique_ptr<Logistic>> Logistic::Create(
    const Options& options, const ComponentContext& context) {
  FEDLB_RETURN_IF_ERROR(CheckClassification(kName, context));
  return std::unique_ptr<Logistic>(new Logistic(options, context));
}

Logistic::Logistic(const Options& options, const ComponentContext& context) {
  LayerInitializer init(options.initialization, context);
  weight_ = AddParameter(
      "fc.weight", init.Weight({context.num_classes, ExampleSize(context)}));
  bias_ = AddParameter("fc.bias", init.Bias());
}

at::Tensor Logistic::DoForward(const at::Tensor& inputs) {
  return ApplyLinear(inputs.flatten(1), weight_, bias_);
}

ParamSchema<MlpOptions> Mlp::Schema() {
  return ParamSchema<Options>()
      .Add("hidden", &Options::hidden,
           "Widths of the hidden layers from input to output; an empty list "
           "gives one linear layer.",
           AtLeast(1))
      .AddChoice("initialization", &Options::initialization,
                 InitializationChoices(), kInitDescription);
}

absl::StatusOr<std::unique_ptr<Mlp>> Mlp::Create(
    const Options& options, const ComponentContext& context) {
  FEDLB_RETURN_IF_ERROR(CheckClassification(kName, context));
  return std::unique_ptr<Mlp>(new Mlp(options, context));
}

Mlp::Mlp(const Options& options, const ComponentContext& context) {
  LayerInitializer init(options.initialization, context);
  std::vector<int64_t> widths = options.hidden;
  widths.push_back(context.num_classes);
  int64_t inputs = ExampleSize(context);
  for (const int64_t outputs : widths) {
    const std::string name = absl::StrCat("fc", layers_.size() + 1);
    Layer layer;
    layer.weight =
        AddParameter(name + ".weight", init.Weight({outputs, inputs}));
    layer.bias = AddParameter(name + ".bias", init.Bias());
    layers_.push_back(std::move(layer));
    inputs = outputs;
  }
}

at::Tensor Mlp::DoForward(const at::Tensor& inputs) {
  at::Tensor x = inputs.flatten(1);
  for (size_t i = 0; i < layers_.size(); ++i) {
    x = ApplyLinear(x, layers_[i].weight, layers_[i].bias);
    if (i + 1 < layers_.size()) {
      x.relu_();
    }
  }
  return x;
}

}  // namespace fedlb::models
