#include "vision_models/vgg.h"

#include <array>
#include <cstddef>

#include "absl/strings/str_cat.h"

namespace fedlb::vision_models {
namespace {

constexpr std::array<int64_t, 5> kStageWidths = {64, 128, 256, 512, 512};
// The side to which torchvision pools the last image.
constexpr int64_t kImagenetSide = 7;
// Five poolings that round down leave nothing of a smaller side.
constexpr int64_t kMinImagenetSide = 32;

}  // namespace

ParamSchema<VggOptions> VggNetwork::Schema() {
  using Options = VggOptions;
  return ParamSchema<Options>()
      .AddChoice(
          "stem", &Options::stem, StemChoices(),
          "Size of the classifier. \"imagenet\": hidden layers of 4096 on 7x7 "
          "pixels, names and shapes as in torchvision, for sides of at least "
          "32. \"cifar\": hidden layers of 512 on the mean over all pixels, "
          "and poolings that round up, so that any size is taken. \"auto\": "
          "\"cifar\" for sides up to 64.")
      .Add("batch_norm", &Options::batch_norm,
           "Batch normalisation behind every convolution.")
      .Add("dropout", &Options::dropout, kDropoutDescription, InHalfOpen(0, 1));
}

absl::Status VggNetwork::Check(absl::string_view model,
                               const VggOptions& options,
                               const ComponentContext& context) {
  FEDLB_RETURN_IF_ERROR(CheckImages(model, /*min_side=*/1, context));
  if (ResolveStem(options.stem, context) != Stem::kImagenet) {
    return absl::OkStatus();
  }
  return Annotate(CheckImages(model, kMinImagenetSide, context),
                  "model.stem = \"imagenet\"");
}

// K. Simonyan and A. Zisserman, "Very Deep Convolutional Networks for
// Large-Scale Image Recognition", ICLR 2015, Table 1, columns A and D.
VggNetwork::VggNetwork(const std::vector<int64_t>& convolutions,
                       const VggOptions& options,
                       const ComponentContext& context)
    : VisionModel(context),
      dropout_(options.dropout),
      imagenet_(ResolveStem(options.stem, context) == Stem::kImagenet) {
  int64_t channels = context.example_shape[0];
  int64_t index = 0;  // as torch.nn.Sequential counts, activations included
  for (size_t stage = 0; stage < convolutions.size(); ++stage) {
    for (int64_t i = 0; i < convolutions[stage]; ++i) {
      const ConvShape shape = {.inputs = channels,
                               .outputs = kStageWidths[stage],
                               .kernel = 3,
                               .padding = 1};
      Feature feature;
      feature.conv = AddConv(absl::StrCat("features.", index++), shape,
                             HeFanOut(shape.fan_out()), Constant(0));
      if (options.batch_norm) {
        feature.norm =
            AddBatchNorm(absl::StrCat("features.", index++), shape.outputs);
      }
      ++index;  // ReLU
      feature.pooling = i + 1 == convolutions[stage];
      features_.push_back(std::move(feature));
      channels = shape.outputs;
    }
    ++index;  // pooling
  }
  const int64_t hidden = imagenet_ ? 4096 : 512;
  const auto add = [&](const char* name, int64_t inputs, int64_t outputs) {
    classifier_.push_back(
        AddLinear(name, inputs, outputs, NormalWith(0.01), Constant(0)));
  };
  add("classifier.0",
      channels * (imagenet_ ? kImagenetSide * kImagenetSide : 1), hidden);
  add("classifier.3", hidden, hidden);
  add("classifier.6", hidden, context.num_classes);
}

at::Tensor VggNetwork::Logits(const at::Tensor& images) {
  at::Tensor x = images;
  for (const Feature& feature : features_) {
    x = feature.conv(x);
    if (feature.norm.has_value()) {
      x = (*feature.norm)(x, training());
    }
    x.relu_();
    if (feature.pooling) {
      x = MaxPool(x, 2, 2, /*padding=*/0, /*round_up=*/!imagenet_);
    }
  }
  x = LinearOnPool(classifier_[0], x, imagenet_ ? kImagenetSide : 1);
  x = Dropout(x.relu_(), dropout_);
  x = Dropout(classifier_[1](x).relu_(), dropout_);
  return classifier_[2](x);
}

}  // namespace fedlb::vision_models
