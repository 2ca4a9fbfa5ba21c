#include "vision_models/alexnet.h"

#include <cstddef>
#include <cstdint>

#include "fedlb/status.h"

namespace fedlb::vision_models {
namespace {

constexpr int64_t kClassifierWidth = 4096;
// The stride of 4 and three poolings leave nothing of a smaller side.
constexpr int64_t kMinImagenetSide = 63;

// The side to which the last image is pooled.
int64_t LastSide(bool imagenet) { return imagenet ? 6 : 2; }

}  // namespace

ParamSchema<AlexNetOptions> AlexNet::Schema() {
  return ParamSchema<Options>()
      .AddChoice(
          "stem", &Options::stem, StemChoices(),
          "First layer and poolings. \"imagenet\": 11x11 convolution of stride "
          "4, names and shapes as in torchvision, for sides of at least 63. "
          "\"cifar\": 3x3 convolution of stride 2 and 2x2 poolings that round "
          "up, down to 2x2 pixels for a side of 32; any size is taken. "
          "\"auto\": \"cifar\" for sides up to 64.")
      .Add("dropout", &Options::dropout, kDropoutDescription, InHalfOpen(0, 1));
}

absl::StatusOr<std::unique_ptr<AlexNet>> AlexNet::Create(
    const Options& options, const ComponentContext& context) {
  FEDLB_RETURN_IF_ERROR(CheckImages(kName, /*min_side=*/1, context));
  if (ResolveStem(options.stem, context) == Stem::kImagenet) {
    FEDLB_RETURN_IF_ERROR(
        Annotate(CheckImages(kName, kMinImagenetSide, context),
                 "model.stem = \"imagenet\""));
  }
  return std::unique_ptr<AlexNet>(new AlexNet(options, context));
}

// A. Krizhevsky, "One weird trick for parallelizing convolutional neural
// networks", arXiv 1404.5997, section 5: the network of 2012 without its two
// halves and without local response normalisation.
AlexNet::AlexNet(const Options& options, const ComponentContext& context)
    : VisionModel(context),
      dropout_(options.dropout),
      imagenet_(ResolveStem(options.stem, context) == Stem::kImagenet) {
  const int64_t channels = context.example_shape[0];
  const ConvShape first =
      imagenet_
          ? ConvShape{channels, 64, /*kernel=*/11, /*stride=*/4, /*padding=*/2}
          : ConvShape{channels, 64, /*kernel=*/3, /*stride=*/2, /*padding=*/1};
  // Numbered as torch.nn.Sequential does, activations and poolings included.
  features_.push_back(AddConv("features.0", first));
  features_.push_back(AddConv(
      "features.3", {.inputs = 64, .outputs = 192, .kernel = 5, .padding = 2}));
  features_.push_back(
      AddConv("features.6",
              {.inputs = 192, .outputs = 384, .kernel = 3, .padding = 1}));
  features_.push_back(
      AddConv("features.8",
              {.inputs = 384, .outputs = 256, .kernel = 3, .padding = 1}));
  features_.push_back(
      AddConv("features.10",
              {.inputs = 256, .outputs = 256, .kernel = 3, .padding = 1}));
  classifier_.push_back(
      AddLinear("classifier.1", 256 * LastSide(imagenet_) * LastSide(imagenet_),
                kClassifierWidth));
  classifier_.push_back(
      AddLinear("classifier.4", kClassifierWidth, kClassifierWidth));
  classifier_.push_back(
      AddLinear("classifier.6", kClassifierWidth, context.num_classes));
}

at::Tensor AlexNet::Pool(const at::Tensor& x) const {
  return imagenet_ ? MaxPool(x, 3, 2)
                   : MaxPool(x, 2, 2, /*padding=*/0, /*round_up=*/true);
}

at::Tensor AlexNet::Logits(const at::Tensor& images) {
  at::Tensor x = Pool(features_[0](images).relu_());
  x = Pool(features_[1](x).relu_());
  for (size_t i = 2; i < features_.size(); ++i) {
    x = features_[i](x).relu_();
  }
  x = AveragePoolTo(Pool(x), LastSide(imagenet_)).flatten(1);
  x = classifier_[0](Dropout(x, dropout_)).relu_();
  x = classifier_[1](Dropout(x, dropout_)).relu_();
  return classifier_[2](x);
}

}  // namespace fedlb::vision_models
