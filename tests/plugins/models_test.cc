#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fedlb/model.h"
#include "fedlb/status.h"
#include "fedlb/tensor_list.h"
#include "models/cnn.h"
#include "models/dense.h"
#include "plugins/golden/models_golden.h"
#include "plugins/make_component.h"

namespace fedlb {
namespace {

using models::Cnn;
using models::CnnStrided;
using models::Logistic;
using models::Mlp;
using ::testing::HasSubstr;

ComponentContext ImageContext(at::ScalarType dtype = at::kFloat) {
  ComponentContext context;
  context.seed = 7;
  context.dtype = dtype;
  context.example_shape = {1, 28, 28};
  context.num_classes = 10;
  return context;
}

std::unique_ptr<Model> MakeModel(const std::string& name,
                                 const std::string& options,
                                 const ComponentContext& context) {
  if (name == Logistic::kName) {
    return Make<Logistic>(options, context);
  }
  if (name == Mlp::kName) {
    return Make<Mlp>(options, context);
  }
  if (name == Cnn::kName) {
    return Make<Cnn>(options, context);
  }
  return Make<CnnStrided>(options, context);
}

// Element k is f(k).
template <typename F>
at::Tensor Filled(at::IntArrayRef sizes, F f) {
  at::Tensor tensor = at::empty(sizes, at::kDouble);
  double* data = tensor.mutable_data_ptr<double>();
  for (int64_t k = 0; k < tensor.numel(); ++k) {
    data[k] = f(static_cast<double>(k));
  }
  return tensor;
}

// The weights that golden/models.py states.
void SetGoldenWeights(Model& model) {
  for (size_t p = 0; p < model.parameters().size(); ++p) {
    const at::Tensor weight = model.parameters()[p].detach();
    const double scale = weight.dim() > 1
                             ? 1 / std::sqrt(static_cast<double>(
                                       weight.numel() / weight.size(0)))
                             : 0.1;
    weight.copy_(Filled(weight.sizes(), [&](double k) {
      return scale * std::sin(k + static_cast<double>(p));
    }));
  }
}

double Distance(const at::Tensor& tensor, const std::vector<double>& golden) {
  const at::Tensor flat = tensor.detach().to(at::kDouble).reshape({-1});
  double squares = 0;
  for (int64_t k = 0; k < flat.numel(); ++k) {
    squares += std::pow(flat[k].item<double>() - golden.at(k), 2);
  }
  return std::sqrt(squares);
}

class GoldenModelTest : public ::testing::TestWithParam<ModelGolden> {};

void ExpectGolden(const ModelGolden& golden, at::ScalarType dtype,
                  double tolerance) {
  const auto model =
      MakeModel(golden.name, golden.options, ImageContext(dtype));
  EXPECT_EQ(NumElements(model->parameters()), golden.num_parameters);
  SetGoldenWeights(*model);
  const at::Tensor inputs = Filled({4, 1, 28, 28}, [](double k) {
                              return std::cos(0.1 * k);
                            }).to(dtype);
  const at::Tensor logits = model->Forward(inputs).value();
  ASSERT_EQ(logits.sizes(), at::IntArrayRef({4, 10}));
  EXPECT_LE(Distance(logits, golden.logits), tolerance);

  const std::vector<int64_t> targets = {0, 3, 6, 9};
  const at::Tensor loss = model->Loss(logits, at::tensor(targets)).value();
  EXPECT_NEAR(loss.item<double>(), golden.loss, tolerance);

  loss.backward();
  for (size_t p = 0; p < model->parameters().size(); ++p) {
    const at::Tensor gradient =
        model->parameters()[p].grad().to(at::kDouble).reshape({-1});
    const at::Tensor cosines =
        Filled(gradient.sizes(), [](double k) { return std::cos(k); });
    const double norm = golden.gradients.at(2 * p);
    EXPECT_NEAR(gradient.norm().item<double>(), norm, tolerance * (1 + norm))
        << model->parameter_layout()[p].name;
    EXPECT_NEAR(gradient.dot(cosines).item<double>(),
                golden.gradients.at(2 * p + 1), tolerance * (1 + 10 * norm))
        << model->parameter_layout()[p].name;
  }
}

TEST_P(GoldenModelTest, LogitsLossAndGradientsAreThoseOfPytorch) {
  ExpectGolden(GetParam(), at::kDouble, 1e-12);
}

TEST_P(GoldenModelTest, FloatAgreesWithinItsPrecision) {
  ExpectGolden(GetParam(), at::kFloat, 2e-6);
}

INSTANTIATE_TEST_SUITE_P(All, GoldenModelTest,
                         ::testing::ValuesIn(ModelGoldens()),
                         [](const auto& info) {
                           return std::string(info.param.name);
                         });

class EveryModelTest : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(All, EveryModelTest,
                         ::testing::Values("logistic", "mlp", "cnn",
                                           "cnn_strided"),
                         [](const auto& info) {
                           return std::string(info.param);
                         });

TEST_P(EveryModelTest, InitialWeightsComeFromTheSeedAlone) {
  ComponentContext context = ImageContext();
  at::Generator global = at::detail::getDefaultCPUGenerator();
  const at::Tensor state = global.get_state();
  const auto model = MakeModel(GetParam(), "", context);
  global.set_current_seed(99);
  const auto same = MakeModel(GetParam(), "", context);
  context.seed = 8;
  const auto other = MakeModel(GetParam(), "", context);

  EXPECT_EQ(Sha256Hex(model->parameters()), Sha256Hex(same->parameters()));
  EXPECT_NE(Sha256Hex(model->parameters()), Sha256Hex(other->parameters()));
  global.set_state(state);
  MakeModel(GetParam(), "", context);
  EXPECT_TRUE(global.get_state().equal(state));
}

TEST_P(EveryModelTest, FloatWeightsAreTheRoundedDoubleOnes) {
  const auto narrow = MakeModel(GetParam(), "", ImageContext(at::kFloat));
  const auto wide = MakeModel(GetParam(), "", ImageContext(at::kDouble));
  for (size_t i = 0; i < narrow->parameters().size(); ++i) {
    EXPECT_TRUE(
        narrow->parameters()[i].equal(wide->parameters()[i].to(at::kFloat)));
  }
}

// Uniform in (-a, a) with a = 1/sqrt(fan_in): variance a^2 / 3.
TEST_P(EveryModelTest, DefaultInitialisationIsThatOfPytorch) {
  const auto model = MakeModel(GetParam(), "", ImageContext(at::kDouble));
  double fan_in = 0;
  for (const at::Tensor& parameter : model->parameters()) {
    const at::Tensor values = parameter.detach();
    if (values.dim() > 1) {
      fan_in = static_cast<double>(values.numel() / values.size(0));
    }
    const double bound = 1 / std::sqrt(fan_in);
    EXPECT_LE(values.abs().max().item<double>(), bound);
    if (values.numel() >= 4000) {
      EXPECT_GE(values.abs().max().item<double>(), 0.99 * bound);
      // Five standard errors of the mean and of the variance.
      const double n = static_cast<double>(values.numel());
      EXPECT_NEAR(values.mean().item<double>(), 0,
                  5 * bound / std::sqrt(3 * n));
      EXPECT_NEAR(values.var().item<double>() / (bound * bound / 3), 1,
                  5 / std::sqrt(n));
    }
  }
}

TEST_P(EveryModelTest, ForwardWithoutGradientsKeepsNoGraph) {
  const auto model = MakeModel(GetParam(), "", ImageContext());
  const at::NoGradGuard no_grad;
  const at::Tensor logits = model->Forward(at::ones({2, 1, 28, 28})).value();
  EXPECT_FALSE(logits.requires_grad());
}

TEST_P(EveryModelTest, ParametersAreLeavesThatRequireGradients) {
  const auto model = MakeModel(GetParam(), "", ImageContext());
  for (const at::Tensor& parameter : model->parameters()) {
    EXPECT_TRUE(parameter.requires_grad());
    EXPECT_TRUE(parameter.is_leaf());
  }
}

TEST_P(EveryModelTest, WrongInputIsAStatus) {
  const auto model = MakeModel(GetParam(), "", ImageContext());
  EXPECT_FALSE(model->Forward(at::ones({2, 1, 20, 28})).ok());
}

TEST_P(EveryModelTest, TakesTheShapeAndClassesOfTheDataset) {
  ComponentContext context = ImageContext();
  context.example_shape = {3, 33, 30};
  context.num_classes = 7;
  const auto model = MakeModel(GetParam(), "", context);
  EXPECT_EQ(model->Forward(at::ones({2, 3, 33, 30})).value().sizes(),
            at::IntArrayRef({2, 7}));
}

// With p = (3/4, 1/4) and a smoothing of 0.2 over two classes the target is
// (0.9, 0.1).
TEST(LabelSmoothingTest, SpreadsTheTargetWhileTraining) {
  const auto model = MakeModel(Logistic::kName, "", ImageContext(at::kDouble));
  model->set_label_smoothing(0.2);
  const at::Tensor logits = at::tensor({std::log(3.0), 0.0}).to(at::kDouble)
                                .reshape({1, 2});
  const at::Tensor target = at::tensor({int64_t{0}});
  EXPECT_NEAR(model->Loss(logits, target)->item<double>(),
              -0.9 * std::log(0.75) - 0.1 * std::log(0.25), 1e-7);
  model->SetTraining(false);
  EXPECT_NEAR(model->Loss(logits, target)->item<double>(), -std::log(0.75),
              1e-7);
}

TEST(ModelInitTest, HeDrawsNormalWeightsAndNoBias) {
  const auto model = Make<Cnn>("initialization = 'he'", ImageContext(at::kDouble));
  const TensorList& parameters = model->parameters();
  const at::Tensor fc1 = parameters[4].detach();
  const double n = static_cast<double>(fc1.numel());
  EXPECT_NEAR(fc1.var().item<double>() / (2.0 / (32 * 7 * 7)), 1,
              5 * std::sqrt(2 / n));
  for (const size_t bias : {1, 3, 5, 7}) {
    EXPECT_EQ(parameters[bias].detach().abs().max().item<double>(), 0);
  }
}

TEST(ModelInitTest, LogisticMayStartAtZero) {
  const auto model = Make<Logistic>("initialization = 'zeros'", ImageContext());
  const at::Tensor logits = model->Forward(at::ones({2, 1, 28, 28})).value();
  EXPECT_EQ(logits.detach().abs().max().item<float>(), 0);
}

TEST(ModelInitTest, LayersOfEqualSizeDiffer) {
  const auto model = Make<Mlp>("hidden = [784, 784]", ImageContext());
  EXPECT_FALSE(model->parameters()[0].equal(model->parameters()[2]));
}

TEST(ModelShapeTest, MlpWithoutHiddenLayersIsLogisticRegression) {
  const auto mlp = Make<Mlp>("hidden = []", ImageContext());
  const auto logistic = Make<Logistic>("", ImageContext());
  const at::Tensor inputs = at::ones({2, 1, 28, 28});
  EXPECT_TRUE(
      mlp->Forward(inputs).value().equal(logistic->Forward(inputs).value()));
}

TEST(ModelShapeTest, DenseModelsTakeVectors) {
  ComponentContext context = ImageContext();
  context.example_shape = {5};
  EXPECT_EQ(Make<Mlp>("", context)->Forward(at::ones({3, 5})).value().sizes(),
            at::IntArrayRef({3, 10}));
}

TEST(ModelShapeTest, CnnRefusesWhatIsNoImage) {
  ComponentContext context = ImageContext();
  context.example_shape = {784};
  const absl::Status status = TryMake<Cnn>("", context).status();
  EXPECT_EQ(FailureOf(status), Failure::kConfig);
  EXPECT_THAT(std::string(status.message()), HasSubstr("[784]"));
}

TEST(ModelShapeTest, CnnRefusesImagesThatPoolingEatsUp) {
  ComponentContext context = ImageContext();
  context.example_shape = {1, 3, 28};
  EXPECT_EQ(FailureOf(TryMake<Cnn>("", context).status()), Failure::kConfig);
  context.example_shape = {1, 4, 4};
  EXPECT_TRUE(TryMake<Cnn>("", context).ok());
}

TEST(ModelShapeTest, ADatasetWithoutClassesIsRefused) {
  ComponentContext context = ImageContext();
  context.num_classes = 0;
  EXPECT_EQ(FailureOf(TryMake<Logistic>("", context).status()),
            Failure::kConfig);
}

TEST(ModelShapeTest, AHiddenLayerNeedsAWidth) {
  const absl::Status status =
      TryMake<Mlp>("hidden = [8, 0]", ImageContext()).status();
  EXPECT_EQ(FailureOf(status), Failure::kConfig);
  EXPECT_THAT(std::string(status.message()), HasSubstr("hidden"));
}

}  // namespace
}  // namespace fedlb
