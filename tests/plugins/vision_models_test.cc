#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "fedlb/config.h"
#include "fedlb/plugin.h"
#include "fedlb/status.h"
#include "fedlb/tensor_list.h"
#include "plugins/golden/vision_models_golden.h"
#include "vision_models/alexnet.h"
#include "vision_models/cifar_resnet.h"
#include "vision_models/lenet5.h"
#include "vision_models/resnet.h"
#include "vision_models/vgg.h"
#include "vision_models/vit.h"

namespace fedlb {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

ComponentContext Context(std::vector<int64_t> example_shape,
                         at::ScalarType dtype = at::kFloat,
                         int64_t num_classes = 10) {
  ComponentContext context;
  context.seed = 7;
  context.dtype = dtype;
  context.example_shape = std::move(example_shape);
  context.num_classes = num_classes;
  return context;
}

const std::vector<ComponentEntry>& Entries() {
  static const auto* const registrar = [] {
    auto* all = new PluginRegistrar();
    all->Add<vision_models::Lenet5>();
    all->Add<vision_models::ResNet8>();
    all->Add<vision_models::ResNet20>();
    all->Add<vision_models::ResNet18>();
    all->Add<vision_models::ResNet34>();
    all->Add<vision_models::ResNet50>();
    all->Add<vision_models::ResNet101>();
    all->Add<vision_models::Vgg11>();
    all->Add<vision_models::Vgg16>();
    all->Add<vision_models::AlexNet>();
    all->Add<vision_models::VitB16>();
    all->Add<vision_models::VitTiny>();
    return all;
  }();
  return const_cast<PluginRegistrar*>(registrar)->entries();
}

absl::StatusOr<std::unique_ptr<Model>> TryMakeModel(
    const std::string& name, const std::string& options,
    const ComponentContext& context) {
  for (const ComponentEntry& entry : Entries()) {
    if (entry.name == name) {
      FEDLB_ASSIGN_OR_RETURN(const ConfigTable table,
                             ParseToml(options, "test"));
      FEDLB_ASSIGN_OR_RETURN(auto component, entry.create(table, context));
      return std::unique_ptr<Model>(static_cast<Model*>(component.release()));
    }
  }
  return absl::NotFoundError(name);
}

std::unique_ptr<Model> MakeModel(const std::string& name,
                                 const std::string& options,
                                 const ComponentContext& context) {
  return std::move(TryMakeModel(name, options, context)).value();
}

std::vector<std::string> Names(const TensorLayout& layout) {
  std::vector<std::string> names;
  for (const TensorSpec& spec : layout) {
    names.push_back(spec.name);
  }
  return names;
}

// u(k, stream) of golden/vision_models.py for k = 0, 1, ...
at::Tensor Sequence(at::IntArrayRef sizes, uint32_t stream) {
  at::Tensor tensor = at::empty(sizes, at::kDouble);
  double* data = tensor.mutable_data_ptr<double>();
  for (int64_t k = 0; k < tensor.numel(); ++k) {
    uint32_t h = static_cast<uint32_t>(k) + stream * 0x9E3779B9u;
    h ^= h >> 16;
    h *= 0x85EBCA6Bu;
    h ^= h >> 13;
    h *= 0xC2B2AE35u;
    h ^= h >> 16;
    data[k] = static_cast<double>(h) * 0x1p-31 - 1;
  }
  return tensor;
}

// The weights and buffers that golden/vision_models.py states.
void SetGoldenTensors(Model& model) {
  const at::NoGradGuard no_grad;
  for (size_t p = 0; p < model.parameters().size(); ++p) {
    at::Tensor weight = model.parameters()[p];
    const std::string& name = model.parameter_layout()[p].name;
    at::Tensor values = Sequence(weight.sizes(), static_cast<uint32_t>(p));
    if (weight.dim() > 1) {
      values.mul_(
          std::sqrt(6 / static_cast<double>(weight.numel() / weight.size(0))));
    } else if (name.ends_with(".weight")) {
      values.mul_(0.2).add_(1);
    } else {
      values.mul_(0.2);
    }
    weight.copy_(values);
  }
  for (size_t b = 0; b < model.buffers().size(); ++b) {
    at::Tensor buffer = model.buffers()[b];
    at::Tensor values =
        Sequence(buffer.sizes(), static_cast<uint32_t>(1000 + b));
    if (model.buffer_layout()[b].name.ends_with("_var")) {
      values.mul_(0.5).add_(1);
    } else {
      values.mul_(0.2);
    }
    buffer.copy_(values);
  }
}

at::Tensor Inputs(at::IntArrayRef sizes, at::ScalarType dtype = at::kFloat) {
  return Sequence(sizes, 5000).to(dtype);
}

void ExpectClose(const at::Tensor& tensor, const std::vector<double>& golden,
                 double tolerance) {
  const at::Tensor actual = tensor.detach().to(at::kDouble).reshape({-1});
  const at::Tensor expected = at::tensor(golden, at::kDouble);
  ASSERT_EQ(actual.numel(), expected.numel());
  EXPECT_LE(actual.sub(expected).abs().max().item<double>(),
            tolerance * expected.abs().max().item<double>());
}

class LayoutTest : public ::testing::TestWithParam<LayoutGolden> {};

TEST_P(LayoutTest, NamesShapesAndOrderAreThoseOfTorchvision) {
  const auto model = MakeModel(GetParam().name, GetParam().options,
                               Context({3, 224, 224}, at::kFloat, 1000));
  EXPECT_EQ(NumElements(model->parameters()), GetParam().num_parameters);
  std::string lines;
  for (const TensorLayout& layout :
       {model->parameter_layout(), model->buffer_layout()}) {
    for (const TensorSpec& spec : layout) {
      absl::StrAppend(&lines, spec.name, " ", absl::StrJoin(spec.sizes, ","),
                      "\n");
    }
  }
  uint64_t fnv = 0xCBF29CE484222325;
  for (const char c : lines) {
    fnv = (fnv ^ static_cast<uint8_t>(c)) * 0x100000001B3;
  }
  EXPECT_EQ(fnv, GetParam().fnv1a) << lines;
}

INSTANTIATE_TEST_SUITE_P(All, LayoutTest, ::testing::ValuesIn(LayoutGoldens()),
                         [](const auto& info) {
                           return absl::StrCat(info.index, "_",
                                               info.param.name);
                         });

class LogitsTest : public ::testing::TestWithParam<LogitsGolden> {};

TEST_P(LogitsTest, EvaluationGivesThoseOfPytorch) {
  const LogitsGolden& golden = GetParam();
  const std::vector<int64_t> example(golden.sizes.begin() + 1,
                                     golden.sizes.end());
  const auto model = MakeModel(golden.name, golden.options,
                               Context(example, golden.precision));
  SetGoldenTensors(*model);
  model->SetTraining(false);
  const at::NoGradGuard no_grad;
  ExpectClose(model->Forward(Inputs(golden.sizes, golden.precision)).value(),
              golden.logits, golden.precision == at::kDouble ? 1e-11 : 1e-4);
}

INSTANTIATE_TEST_SUITE_P(All, LogitsTest, ::testing::ValuesIn(LogitsGoldens()),
                         [](const auto& info) {
                           return absl::StrCat(info.index, "_",
                                               info.param.name);
                         });

TEST(TrainingTest, AStepOfResNet8IsThatOfPytorch) {
  const auto model =
      MakeModel("resnet8", "", Context({3, 32, 32}, at::kDouble));
  SetGoldenTensors(*model);
  const at::Tensor logits =
      model->Forward(Inputs({4, 3, 32, 32}, at::kDouble)).value();
  ExpectClose(logits, ResNet8Training().logits, 1e-11);
  ExpectClose(at::cat(model->buffers()), ResNet8Training().buffers, 1e-12);

  const std::vector<int64_t> targets = {0, 3, 6, 9};
  model->Loss(logits, at::tensor(targets)).value().backward();
  std::vector<double> norms;
  for (const at::Tensor& parameter : model->parameters()) {
    norms.push_back(parameter.grad().norm().item<double>());
  }
  ExpectClose(at::tensor(norms, at::kDouble), ResNet8Training().gradients,
              1e-10);
}

// 432 + 32 in the stem, 9 * 16 * 16 per convolution of the first stage and so
// on; what is known of each from the papers.
TEST(SizeTest, SmallNetworksHaveTheParametersOfTheirPapers) {
  const auto count = [](const std::string& name, const std::string& options,
                        std::vector<int64_t> shape) {
    return NumElements(
        MakeModel(name, options, Context(std::move(shape)))->parameters());
  };
  EXPECT_EQ(count("resnet8", "", {3, 32, 32}), 75290);
  EXPECT_EQ(count("resnet8", "shortcut = 'projection'", {3, 32, 32}), 78042);
  EXPECT_EQ(count("resnet20", "", {3, 32, 32}), 269722);
  EXPECT_EQ(count("resnet20", "shortcut = 'projection'", {3, 32, 32}), 272474);
  EXPECT_EQ(count("lenet5", "", {1, 28, 28}), 61706);
  EXPECT_EQ(count("lenet5", "", {1, 32, 32}), 61706);
  EXPECT_EQ(count("resnet18", "", {3, 32, 32}), 11173962);
  // 9,220,480 in the convolutions, 2 * (512 * 512 + 512) + 5,130 behind them.
  EXPECT_EQ(count("vgg11", "", {3, 32, 32}), 9750922);
}

// With width w the stem has 27 w + 2 w parameters, the first stage
// 4 (9 w^2 + 2 w), a stage from a to 2 a channels 18 a^2 + 3 * 36 a^2 + 2 a^2 +
// 5 * 4 a for a = w, 2 w, 4 w, and the last layer 80 w + 10.
TEST(SizeTest, WidthIsTheChannelsOfTheFirstStage) {
  const auto model = MakeModel("resnet18", "width = 16", Context({3, 32, 32}));
  EXPECT_THAT(model->parameter_layout().front().sizes,
              ElementsAre(16, 3, 3, 3));
  const int64_t w = 16;
  const int64_t squares = 36 + 128 * (1 + 4 + 16);
  const int64_t multiples = 29 + 8 + 20 * (1 + 2 + 4) + 80;
  EXPECT_EQ(NumElements(model->parameters()),
            squares * w * w + multiples * w + 10);

  const auto small = MakeModel("resnet8", "width = 8", Context({1, 28, 28}));
  EXPECT_THAT(small->parameter_layout().front().sizes, ElementsAre(8, 1, 3, 3));
  EXPECT_THAT(small->parameter_layout()[small->parameters().size() - 2].sizes,
              ElementsAre(10, 32));
}

TEST(NamesTest, AreDottedPathsOfLayers) {
  EXPECT_THAT(
      Names(MakeModel("lenet5", "", Context({1, 28, 28}))->parameter_layout()),
      ElementsAre("conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias",
                  "fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias",
                  "fc3.weight", "fc3.bias"));
  const auto resnet = MakeModel("resnet8", "", Context({3, 32, 32}));
  EXPECT_THAT(
      Names(resnet->parameter_layout()),
      ElementsAre(
          "conv1.weight", "bn1.weight", "bn1.bias", "layer1.0.conv1.weight",
          "layer1.0.bn1.weight", "layer1.0.bn1.bias", "layer1.0.conv2.weight",
          "layer1.0.bn2.weight", "layer1.0.bn2.bias", "layer2.0.conv1.weight",
          "layer2.0.bn1.weight", "layer2.0.bn1.bias", "layer2.0.conv2.weight",
          "layer2.0.bn2.weight", "layer2.0.bn2.bias", "layer3.0.conv1.weight",
          "layer3.0.bn1.weight", "layer3.0.bn1.bias", "layer3.0.conv2.weight",
          "layer3.0.bn2.weight", "layer3.0.bn2.bias", "fc.weight", "fc.bias"));
  EXPECT_EQ(resnet->buffer_layout().front().name, "bn1.running_mean");
  EXPECT_EQ(resnet->buffer_layout().back().name, "layer3.0.bn2.running_var");
}

struct StemCase {
  const char* name;
  const char* options;
  std::vector<int64_t> shape;
};

class StemTest : public ::testing::TestWithParam<StemCase> {};

TEST_P(StemTest, TakesItsImagesInAnyChannelsAndClasses) {
  const auto model =
      MakeModel(GetParam().name, GetParam().options,
                Context(GetParam().shape, at::kFloat, /*num_classes=*/7));
  std::vector<int64_t> sizes = GetParam().shape;
  sizes.insert(sizes.begin(), 2);
  const at::NoGradGuard no_grad;
  for (const bool training : {true, false}) {
    model->SetTraining(training);
    const at::Tensor logits = model->Forward(Inputs(sizes)).value();
    EXPECT_EQ(logits.sizes(), at::IntArrayRef({2, 7}));
    EXPECT_TRUE(logits.isfinite().all().item<bool>());
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, StemTest,
    ::testing::ValuesIn(std::vector<StemCase>{
        {"resnet18", "stem = 'cifar'", {2, 9, 33}},
        {"resnet18", "stem = 'imagenet'", {2, 65, 40}},
        {"resnet50", "width = 8\nstem = 'imagenet'", {1, 32, 32}},
        {"resnet101", "width = 8", {1, 28, 28}},
        {"vgg11", "stem = 'cifar'", {4, 8, 70}},
        {"vgg16", "batch_norm = true", {3, 32, 32}},
        {"alexnet", "stem = 'imagenet'", {2, 63, 80}},
        {"alexnet", "stem = 'cifar'", {5, 16, 16}},
        {"vit_tiny", "", {1, 28, 28}},
        {"vit_tiny", "stem = 'imagenet'", {4, 32, 48}}}),
    [](const auto& info) {
      return absl::StrCat(info.index, "_", info.param.name);
    });

TEST(StemChoiceTest, AutoGoesByTheShorterSide) {
  const auto kernel = [](std::vector<int64_t> shape) {
    return MakeModel("resnet18", "", Context(std::move(shape)))
        ->parameters()
        .front()
        .size(2);
  };
  EXPECT_EQ(kernel({3, 64, 100}), 3);
  EXPECT_EQ(kernel({3, 65, 65}), 7);
}

struct RefusalCase {
  const char* name;
  const char* options;
  std::vector<int64_t> shape;
  const char* text;
};

class RefusalTest : public ::testing::TestWithParam<RefusalCase> {};

TEST_P(RefusalTest, IsAConfigErrorThatSaysWhy) {
  const absl::Status status = TryMakeModel(GetParam().name, GetParam().options,
                                           Context(GetParam().shape))
                                  .status();
  EXPECT_EQ(FailureOf(status), Failure::kConfig) << status;
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr(GetParam().name), HasSubstr(GetParam().text)));
}

INSTANTIATE_TEST_SUITE_P(
    All, RefusalTest,
    ::testing::ValuesIn(std::vector<RefusalCase>{
        {"vgg11", "stem = 'imagenet'", {3, 31, 40}, "at least 32"},
        {"alexnet", "stem = 'imagenet'", {3, 62, 62}, "at least 63"},
        {"vit_tiny", "", {1, 30, 32}, "patches of 4x4"},
        {"vit_b_16", "stem = 'imagenet'", {1, 28, 28}, "patches of 16x16"},
        {"lenet5", "", {1, 11, 28}, "at least 12"},
        {"resnet18", "", {784}, "[784]"},
        {"resnet8", "", {}, "[]"}}),
    [](const auto& info) {
      return absl::StrCat(info.index, "_", info.param.name);
    });

TEST(RefusedInputTest, ADatasetWithoutClasses) {
  EXPECT_EQ(
      FailureOf(TryMakeModel("resnet8", "", Context({3, 32, 32}, at::kFloat, 0))
                    .status()),
      Failure::kConfig);
}

TEST(RefusedInputTest, ImagesOfAnotherSizeThanTheDatasets) {
  for (const char* name : {"resnet8", "lenet5", "vgg11", "vit_tiny"}) {
    const auto model = MakeModel(name, "", Context({1, 28, 28}));
    const absl::Status status =
        model->Forward(at::ones({2, 1, 32, 32})).status();
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("[1, 28, 28]"), HasSubstr("[2, 1, 32, 32]")));
  }
}

TEST(RefusedInputTest, TrainingOnOneValuePerChannel) {
  const auto model =
      MakeModel("resnet18", "stem = 'imagenet'", Context({3, 32, 32}));
  const absl::Status status = model->Forward(at::ones({1, 3, 32, 32})).status();
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("more than one example"));
  model->SetTraining(false);
  EXPECT_TRUE(model->Forward(at::ones({1, 3, 32, 32})).ok());
}

struct SmallModel {
  const char* name;
  const char* options;
};

class SmallModelTest : public ::testing::TestWithParam<SmallModel> {
 protected:
  static std::unique_ptr<Model> Make(const ComponentContext& context) {
    return MakeModel(GetParam().name, GetParam().options, context);
  }
};

INSTANTIATE_TEST_SUITE_P(
    All, SmallModelTest,
    ::testing::ValuesIn(std::vector<SmallModel>{{"lenet5", ""},
                                                {"resnet8", ""},
                                                {"resnet18", "width = 16"},
                                                {"vgg11", ""},
                                                {"alexnet", ""},
                                                {"vit_tiny", ""}}),
    [](const auto& info) { return std::string(info.param.name); });

TEST_P(SmallModelTest, InitialWeightsComeFromTheSeedAlone) {
  ComponentContext context = Context({1, 28, 28});
  at::Generator global = at::detail::getDefaultCPUGenerator();
  const at::Tensor state = global.get_state();
  const auto model = Make(context);
  EXPECT_TRUE(global.get_state().equal(state));
  const auto same = Make(context);
  context.seed = 8;
  const auto other = Make(context);
  EXPECT_EQ(Sha256Hex(model->parameters()), Sha256Hex(same->parameters()));
  EXPECT_NE(Sha256Hex(model->parameters()), Sha256Hex(other->parameters()));
}

TEST_P(SmallModelTest, FloatWeightsAreTheRoundedDoubleOnes) {
  const auto narrow = Make(Context({1, 28, 28}));
  const auto wide = Make(Context({1, 28, 28}, at::kDouble));
  for (size_t i = 0; i < narrow->parameters().size(); ++i) {
    EXPECT_TRUE(
        narrow->parameters()[i].equal(wide->parameters()[i].to(at::kFloat)));
  }
}

TEST_P(SmallModelTest, GradientsReachEveryParameter) {
  const auto model = Make(Context({1, 28, 28}));
  // A vision transformer starts with a head of zeros, which passes nothing on.
  SetGoldenTensors(*model);
  const at::Tensor logits = model->Forward(Inputs({4, 1, 28, 28})).value();
  const std::vector<int64_t> targets = {0, 3, 6, 9};
  model->Loss(logits, at::tensor(targets)).value().backward();
  for (size_t p = 0; p < model->parameters().size(); ++p) {
    const at::Tensor& gradient = model->parameters()[p].grad();
    ASSERT_TRUE(gradient.defined());
    EXPECT_GT(gradient.norm().item<double>(), 0)
        << model->parameter_layout()[p].name;
  }
}

TEST_P(SmallModelTest, OnlyTrainingChangesBuffers) {
  const auto model = Make(Context({1, 28, 28}));
  const TensorList before = Clone(model->buffers());
  const at::NoGradGuard no_grad;
  model->SetTraining(false);
  ASSERT_TRUE(model->Forward(Inputs({4, 1, 28, 28})).ok());
  for (size_t b = 0; b < before.size(); ++b) {
    EXPECT_TRUE(before[b].equal(model->buffers()[b]));
  }
  model->SetTraining(true);
  ASSERT_TRUE(model->Forward(Inputs({4, 1, 28, 28})).ok());
  for (size_t b = 0; b < before.size(); ++b) {
    EXPECT_FALSE(before[b].equal(model->buffers()[b]))
        << model->buffer_layout()[b].name;
  }
}

// Standard deviations within five standard errors of theirs.
void ExpectDeviation(const at::Tensor& parameter, double deviation) {
  const at::Tensor values = parameter.detach().to(at::kDouble);
  const auto n = static_cast<double>(values.numel());
  EXPECT_NEAR(values.std().item<double>() / deviation, 1, 5 / std::sqrt(2 * n));
  EXPECT_NEAR(values.mean().item<double>(), 0, 5 * deviation / std::sqrt(n));
}

const at::Tensor& ParameterNamed(const Model& model, const std::string& name) {
  const std::vector<std::string> names = Names(model.parameter_layout());
  const auto found = std::find(names.begin(), names.end(), name);
  return model.parameters().at(static_cast<size_t>(found - names.begin()));
}

TEST(InitTest, ResNetDrawsByOutgoingConnections) {
  const auto model = MakeModel("resnet18", "", Context({3, 32, 32}));
  ExpectDeviation(ParameterNamed(*model, "layer2.0.conv1.weight"),
                  std::sqrt(2.0 / (128 * 9)));
  ExpectDeviation(ParameterNamed(*model, "layer2.0.downsample.0.weight"),
                  std::sqrt(2.0 / 128));
  const at::Tensor fc = ParameterNamed(*model, "fc.weight");
  EXPECT_LE(fc.detach().abs().max().item<double>(), 1 / std::sqrt(512.0));
  EXPECT_EQ(ParameterNamed(*model, "layer1.0.bn2.weight").min().item<float>(),
            1);
}

TEST(InitTest, ZeroInitResidualMakesBlocksIdentities) {
  const auto model =
      MakeModel("resnet50", "zero_init_residual = true", Context({3, 32, 32}));
  EXPECT_EQ(ParameterNamed(*model, "layer1.0.bn3.weight").max().item<float>(),
            0);
  EXPECT_EQ(ParameterNamed(*model, "layer1.0.bn2.weight").max().item<float>(),
            1);
}

TEST(InitTest, VggDrawsLinearLayersNarrowly) {
  const auto model = MakeModel("vgg11", "", Context({3, 32, 32}));
  ExpectDeviation(ParameterNamed(*model, "classifier.0.weight"), 0.01);
  ExpectDeviation(ParameterNamed(*model, "features.3.weight"),
                  std::sqrt(2.0 / (128 * 9)));
  EXPECT_EQ(ParameterNamed(*model, "features.3.bias").abs().max().item<float>(),
            0);
}

TEST(InitTest, VisionTransformerDrawsAsTorchvision) {
  const auto model = MakeModel("vit_tiny", "", Context({3, 32, 32}));
  ExpectDeviation(ParameterNamed(*model, "encoder.pos_embedding"), 0.02);
  ExpectDeviation(ParameterNamed(*model, "conv_proj.weight"),
                  1 / std::sqrt(48.0));
  const std::string layer = "encoder.layers.encoder_layer_11.";
  // Uniform within b: deviation b / sqrt(3).
  ExpectDeviation(
      ParameterNamed(*model, layer + "self_attention.in_proj_weight"),
      std::sqrt(2.0 / (192 + 576)));
  ExpectDeviation(
      ParameterNamed(*model, layer + "self_attention.out_proj.weight"),
      1 / std::sqrt(3 * 192.0));
  ExpectDeviation(ParameterNamed(*model, layer + "mlp.3.weight"),
                  std::sqrt(2.0 / (192 + 768)));
  ExpectDeviation(ParameterNamed(*model, layer + "mlp.3.bias"), 1e-6);
  EXPECT_EQ(
      ParameterNamed(*model, "heads.head.weight").abs().max().item<float>(), 0);
}

// A model that is nothing but dropout.
class DropoutOnly final : public vision_models::VisionModel {
 public:
  DropoutOnly(double rate, const ComponentContext& context)
      : VisionModel(context), rate_(rate) {}

 private:
  at::Tensor Logits(const at::Tensor& images) override {
    return Dropout(images, rate_);
  }

  const double rate_;
};

TEST(DropoutTest, DropsItsShareAndScalesTheRest) {
  DropoutOnly model(0.25, Context({1, 100, 100}));
  at::Tensor inputs = at::full({10, 1, 100, 100}, 3.0f);
  inputs.set_requires_grad(true);
  const at::Tensor output = model.Forward(inputs).value();
  const at::Tensor kept = output.detach().ne(0);
  EXPECT_TRUE(output.detach().masked_select(kept).eq(4).all().item<bool>());
  // Five standard deviations of a binomial share.
  EXPECT_NEAR(kept.to(at::kDouble).mean().item<double>(), 0.75,
              5 * std::sqrt(0.25 * 0.75 / 1e5));
  output.sum().backward();
  EXPECT_TRUE(inputs.grad().allclose(kept.to(at::kFloat).div(0.75)));
}

TEST(DropoutTest, IsTheIdentityInEvaluation) {
  DropoutOnly model(0.9, Context({1, 8, 8}));
  model.SetTraining(false);
  const at::Tensor inputs = Inputs({2, 1, 8, 8});
  EXPECT_TRUE(model.Forward(inputs).value().equal(inputs));
}

TEST(DropoutTest, TheMicroBatchesOfAStepHaveMasksOfTheirOwn) {
  DropoutOnly model(0.5, Context({1, 8, 8}));
  const at::Tensor inputs = at::ones({2, 1, 8, 8});
  model.SeedForward(3);
  const at::Tensor first = model.Forward(inputs).value();
  EXPECT_FALSE(model.Forward(inputs).value().equal(first));
  model.SeedForward(3);
  EXPECT_TRUE(model.Forward(inputs).value().equal(first));
  model.SeedForward(4);
  EXPECT_FALSE(model.Forward(inputs).value().equal(first));
}

TEST(DropoutTest, MasksDependNeitherOnThreadsNorOnLibTorchsGenerators) {
  const at::Tensor inputs = at::ones({4, 1, 300, 300});
  const int threads = at::get_num_threads();
  const at::Tensor state = at::detail::getDefaultCPUGenerator().get_state();
  std::vector<at::Tensor> outputs;
  for (const int count : {1, 2}) {
    at::set_num_threads(count);
    DropoutOnly model(0.5, Context({1, 300, 300}));
    model.SeedForward(11);
    outputs.push_back(model.Forward(inputs).value());
  }
  at::set_num_threads(threads);
  EXPECT_TRUE(outputs[0].equal(outputs[1]));
  EXPECT_TRUE(at::detail::getDefaultCPUGenerator().get_state().equal(state));
}

TEST(DropoutTest, ModelsWithDropoutRepeatBySeed) {
  for (const auto& [name, options] :
       std::vector<std::pair<std::string, std::string>>{
           {"vgg11", ""}, {"alexnet", ""}, {"vit_tiny", "dropout = 0.1"}}) {
    const auto model = MakeModel(name, options, Context({1, 28, 28}));
    SetGoldenTensors(*model);
    const at::NoGradGuard no_grad;
    const at::Tensor inputs = Inputs({2, 1, 28, 28});
    const auto logits = [&](uint64_t seed) {
      model->SeedForward(seed);
      return model->Forward(inputs).value();
    };
    const at::Tensor once = logits(5);
    EXPECT_FALSE(once.equal(logits(6))) << name;
    EXPECT_TRUE(once.equal(logits(5))) << name;
  }
}

TEST(DropoutTest, ARateOfZeroMakesTrainingAnEvaluation) {
  const auto model = MakeModel("vgg11", "dropout = 0", Context({1, 28, 28}));
  const at::NoGradGuard no_grad;
  const at::Tensor inputs = Inputs({2, 1, 28, 28});
  const at::Tensor training = model->Forward(inputs).value();
  model->SetTraining(false);
  EXPECT_TRUE(model->Forward(inputs).value().equal(training));
}

}  // namespace
}  // namespace fedlb
