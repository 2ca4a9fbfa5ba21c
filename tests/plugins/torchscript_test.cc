#include "torchscript/torchscript.h"

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/jit/api/module.h>

#include "absl/strings/str_cat.h"
#include "fedlb/random.h"
#include "fedlb/status.h"
#include "fedlb/testing/expect_conforms.h"
#include "plugins/make_component.h"
#include "torchscript/zip_archive.h"

namespace fedlb {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using torchscript::CheckZipArchive;
using torchscript::TorchScript;

// Element k is sin(k + offset) / 4.
at::Tensor Sines(at::IntArrayRef sizes, double offset = 0) {
  int64_t count = 1;
  for (const int64_t size : sizes) {
    count *= size;
  }
  return at::arange(count, at::kDouble)
      .add(offset)
      .sin()
      .div(4)
      .to(at::kFloat)
      .reshape(sizes);
}

at::Tensor Leaf(at::Tensor tensor) {
  tensor.set_requires_grad(true);
  return tensor;
}

ComponentContext Context(std::vector<int64_t> example_shape = {1, 2, 3},
                         int64_t num_classes = 4,
                         at::ScalarType dtype = at::kFloat) {
  ComponentContext context;
  context.dtype = dtype;
  context.example_shape = std::move(example_shape);
  context.num_classes = num_classes;
  return context;
}

// Logits of x are x times the transposed weight plus the bias.
torch::jit::Module LinearModule(int64_t inputs = 6, int64_t classes = 4) {
  torch::jit::Module module("Classifier");
  module.register_parameter("weight", Leaf(Sines({classes, inputs})), false);
  module.register_parameter("bias", Leaf(Sines({classes}, 0.5)), false);
  module.define(R"(
    def forward(self, x):
        x = torch.flatten(x, 1)
        return torch.addmm(self.bias, x, torch.t(self.weight))
  )");
  return module;
}

// The same with batch normalisation and dropout before it.
torch::jit::Module RegularisedModule(int64_t inputs = 6, int64_t classes = 4) {
  torch::jit::Module module("Regularised");
  module.register_attribute("training", c10::BoolType::get(), true);
  module.register_parameter("weight", Leaf(Sines({classes, inputs})), false);
  module.register_parameter("bias", Leaf(Sines({classes}, 0.5)), false);
  module.register_buffer("running_mean", at::zeros({inputs}));
  module.register_buffer("running_var", at::ones({inputs}));
  module.register_buffer("num_batches_tracked", at::zeros({}, at::kLong));
  module.define(R"(
    def forward(self, x):
        x = torch.flatten(x, 1)
        if self.training:
            self.num_batches_tracked.add_(1)
        x = torch.batch_norm(x, None, None, self.running_mean,
                             self.running_var, self.training, 0.1, 1e-5, False)
        x = torch.dropout(x, 0.5, self.training)
        return torch.addmm(self.bias, x, torch.t(self.weight))
  )");
  return module;
}

std::string BytesOf(const torch::jit::Module& module) {
  std::ostringstream out;
  module.save(out);
  return out.str();
}

class TorchScriptTest : public ::testing::Test {
 protected:
  TorchScriptTest()
      : folder_(
            std::filesystem::path(::testing::TempDir()) /
            absl::StrCat("torchscript_test_", ::testing::UnitTest::GetInstance()
                                                  ->current_test_info()
                                                  ->name())) {
    std::filesystem::create_directories(folder_);
  }
  ~TorchScriptTest() override { std::filesystem::remove_all(folder_); }

  std::string PathOf(const std::string& name) const {
    return (folder_ / name).string();
  }

  std::string Write(const std::string& bytes) const {
    const std::string path = PathOf("module.pt");
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }

  absl::StatusOr<std::unique_ptr<TorchScript>> Load(
      const std::string& bytes,
      const ComponentContext& context = Context()) const {
    return TryMake<TorchScript>(
        absl::StrCat("trust_file = true\npath = '", Write(bytes), "'"),
        context);
  }

  std::unique_ptr<TorchScript> Load(
      const torch::jit::Module& module,
      const ComponentContext& context = Context()) const {
    return std::move(Load(BytesOf(module), context)).value();
  }

 private:
  const std::filesystem::path folder_;
};

TEST_F(TorchScriptTest, TheTensorsOfTheModuleAreTheModels) {
  const auto model = Load(RegularisedModule());
  ASSERT_EQ(model->parameter_layout().size(), 2);
  EXPECT_EQ(model->parameter_layout()[0].name, "weight");
  EXPECT_EQ(model->parameter_layout()[1].name, "bias");
  EXPECT_TRUE(model->parameters()[0].equal(Sines({4, 6})));
  ASSERT_EQ(model->buffer_layout().size(), 3);
  EXPECT_EQ(model->buffer_layout()[0].name, "running_mean");
  EXPECT_EQ(model->buffer_layout()[2].name, "num_batches_tracked");
  EXPECT_EQ(model->buffer_layout()[2].dtype, at::kLong);
}

TEST_F(TorchScriptTest, WritingToAParameterChangesTheLogits) {
  const auto model = Load(LinearModule());
  const at::Tensor inputs = Sines({3, 1, 2, 3}, 2);
  const at::NoGradGuard no_grad;
  at::Tensor weight = model->parameters()[0];
  weight.fill_(0);
  EXPECT_TRUE(
      model->Forward(inputs).value().equal(Sines({4}, 0.5).expand({3, 4})));
}

// d/dW of the mean cross entropy is (softmax - onehot)^T x / b.
TEST_F(TorchScriptTest, OneStepOfGradientDescentIsThatOfTheClosedForm) {
  const auto model = Load(LinearModule());
  const at::Tensor inputs = Sines({3, 1, 2, 3}, 2);
  const std::vector<int64_t> targets = {3, 0, 2};
  const at::Tensor logits = model->Forward(inputs).value();
  const at::Tensor x = inputs.flatten(1);
  EXPECT_TRUE(
      logits.allclose(at::addmm(Sines({4}, 0.5), x, Sines({4, 6}).t())));
  const at::Tensor loss = model->Loss(logits, at::tensor(targets)).value();
  loss.backward();

  at::Tensor residual = logits.detach().softmax(1);
  for (int64_t i = 0; i < 3; ++i) {
    residual[i][targets[static_cast<size_t>(i)]].sub_(1);
  }
  const at::Tensor weight = model->parameters()[0];
  EXPECT_TRUE(weight.grad().allclose(residual.t().mm(x).div(3)));
  EXPECT_TRUE(model->parameters()[1].grad().allclose(residual.mean(0)));

  const at::NoGradGuard no_grad;
  for (const at::Tensor& parameter : model->parameters()) {
    parameter.detach().sub_(parameter.grad(), 0.1);
  }
  const at::Tensor after =
      model->Loss(model->Forward(inputs).value(), at::tensor(targets)).value();
  EXPECT_LT(after.item<double>(), loss.item<double>());
}

TEST_F(TorchScriptTest, TheModeReachesTheModule) {
  const auto model = Load(RegularisedModule());
  const at::Tensor inputs = Sines({5, 1, 2, 3}, 2);
  const at::NoGradGuard no_grad;
  model->SetTraining(false);
  const at::Tensor once = model->Forward(inputs).value();
  EXPECT_TRUE(once.equal(model->Forward(inputs).value()));
  EXPECT_EQ(model->buffers()[2].item<int64_t>(), 0);
  model->SetTraining(true);
  ASSERT_TRUE(model->Forward(inputs).ok());
  EXPECT_EQ(model->buffers()[2].item<int64_t>(), 1);
  EXPECT_TRUE(model->buffers()[0].allclose(inputs.flatten(1).mean(0).mul(0.1)));
}

TEST_F(TorchScriptTest, DropoutComesFromTheSeedOfThePass) {
  const auto model = Load(RegularisedModule());
  at::Generator global = at::detail::getDefaultCPUGenerator();
  const at::Tensor state = global.get_state();
  const at::Tensor inputs = Sines({5, 1, 2, 3}, 2);
  const at::NoGradGuard no_grad;
  model->SeedForward(3);
  const at::Tensor first = model->Forward(inputs).value();
  EXPECT_FALSE(model->Forward(inputs).value().equal(first));
  EXPECT_TRUE(global.get_state().equal(state));
  global.set_current_seed(99);
  model->SeedForward(3);
  EXPECT_TRUE(model->Forward(inputs).value().equal(first));
}

TEST_F(TorchScriptTest, DropoutDoesNotDependOnOtherThreads) {
  const std::string bytes = BytesOf(RegularisedModule());
  const at::Tensor inputs = Sines({64, 1, 2, 3}, 2);
  const auto passes = [&inputs](TorchScript& model, uint64_t seed) {
    const at::NoGradGuard no_grad;
    TensorList outputs;
    for (uint64_t step = 0; step < 50; ++step) {
      model.SeedForward(seed + step);
      outputs.push_back(model.Forward(inputs).value());
    }
    return Sha256Hex(outputs);
  };
  std::vector<std::unique_ptr<TorchScript>> models;
  std::vector<std::string> alone;
  for (uint64_t i = 0; i < 3; ++i) {
    alone.push_back(passes(*std::move(Load(bytes)).value(), 100 * i));
    models.push_back(std::move(Load(bytes)).value());
  }
  std::vector<std::string> together(3);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < 3; ++i) {
    threads.emplace_back([&, i] { together[i] = passes(*models[i], 100 * i); });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(alone, together);
}

TEST_F(TorchScriptTest, ADoubleModelComputesInDouble) {
  const auto model =
      Load(RegularisedModule(), Context({1, 2, 3}, 4, at::kDouble));
  EXPECT_EQ(model->parameters()[0].scalar_type(), at::kDouble);
  EXPECT_EQ(model->buffers()[0].scalar_type(), at::kDouble);
  EXPECT_EQ(model->buffers()[2].scalar_type(), at::kLong);
  const at::Tensor logits =
      model->Forward(Sines({3, 1, 2, 3}).to(at::kDouble)).value();
  EXPECT_EQ(logits.scalar_type(), at::kDouble);
}

TEST_F(TorchScriptTest, ASharedParameterStandsOnce) {
  torch::jit::Module module("Tied");
  const at::Tensor weight = Leaf(Sines({6, 6}));
  module.register_parameter("first", weight, false);
  module.register_parameter("second", weight, false);
  module.define(R"(
    def forward(self, x):
        x = torch.flatten(x, 1)
        return torch.matmul(torch.matmul(x, self.first), self.second)
  )");
  const auto model = Load(module, Context({1, 2, 3}, 6));
  ASSERT_EQ(model->parameters().size(), 1);
  EXPECT_EQ(model->parameter_layout()[0].name, "first");
  const at::Tensor x = Sines({2, 6}, 1);
  EXPECT_TRUE(model->Forward(x.reshape({2, 1, 2, 3}))
                  .value()
                  .allclose(x.mm(Sines({6, 6})).mm(Sines({6, 6}))));
}

TEST_F(TorchScriptTest, AFrozenParameterIsABuffer) {
  torch::jit::Module module = LinearModule();
  module.attr("weight").toTensor().set_requires_grad(false);
  const auto model = Load(module);
  ASSERT_EQ(model->parameters().size(), 1);
  EXPECT_EQ(model->parameter_layout()[0].name, "bias");
  ASSERT_EQ(model->buffers().size(), 1);
  EXPECT_EQ(model->buffer_layout()[0].name, "weight");
}

TEST_F(TorchScriptTest, AFileNobodyTrustsIsNotLoaded) {
  const std::string path = Write(BytesOf(LinearModule()));
  const absl::Status status =
      TryMake<TorchScript>(absl::StrCat("path = '", path, "'"), Context())
          .status();
  EXPECT_EQ(FailureOf(status), Failure::kConfig);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("trust_file = true"), HasSubstr(path)));
}

TEST_F(TorchScriptTest, AMissingFileIsAnInputFileError) {
  for (const std::string& path :
       {std::string(), PathOf("absent.pt"), PathOf("")}) {
    const absl::Status status =
        TryMake<TorchScript>(
            absl::StrCat("trust_file = true\npath = '", path, "'"), Context())
            .status();
    EXPECT_EQ(FailureOf(status), Failure::kInputFile) << status;
    EXPECT_THAT(std::string(status.message()),
                HasSubstr(path.empty() ? "model.path" : path));
  }
}

TEST_F(TorchScriptTest, WhatIsNoModuleIsAnInputFileError) {
  // The last one is an empty zip archive.
  for (const std::string& bytes :
       {std::string(), std::string("PK"), std::string("not a zip archive"),
        std::string("PK\x03\x04 and no directory"),
        std::string("PK\x05\x06") + std::string(18, '\0')}) {
    const absl::Status status = Load(bytes).status();
    EXPECT_EQ(FailureOf(status), Failure::kInputFile) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("module.pt"));
  }
}

TEST_F(TorchScriptTest, AnArchiveWithoutAModuleIsAnInputFileError) {
  std::string bytes = BytesOf(LinearModule());
  for (size_t at = bytes.find("/constants.pkl"); at != std::string::npos;
       at = bytes.find("/constants.pkl")) {
    bytes.replace(at, 14, "/something.pkl");
  }
  const absl::Status status = Load(bytes).status();
  EXPECT_EQ(FailureOf(status), Failure::kInputFile) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("torch.jit.script"));
}

TEST_F(TorchScriptTest, ATruncatedFileIsAnInputFileError) {
  const std::string bytes = BytesOf(RegularisedModule());
  ASSERT_EQ(CheckZipArchive(bytes).status(), absl::OkStatus());
  for (size_t size = 1; size < bytes.size(); size += 101) {
    EXPECT_EQ(FailureOf(Load(bytes.substr(0, size)).status()),
              Failure::kInputFile)
        << size;
  }
}

// Every byte of a record is covered by its CRC-32. Elsewhere (names and times
// in local headers, padding) a change may do no harm.
TEST_F(TorchScriptTest, AFlippedBitOfTheWeightsIsFound) {
  const std::string bytes = BytesOf(LinearModule());
  const at::Tensor weight = Sines({4, 6});
  const std::string stored(static_cast<const char*>(weight.const_data_ptr()),
                           weight.nbytes());
  const size_t begin = bytes.find(stored);
  ASSERT_NE(begin, std::string::npos);
  for (size_t i = 0; i < stored.size(); ++i) {
    std::string damaged = bytes;
    damaged[begin + i] ^= 1 << (i % 8);
    const absl::Status status = Load(damaged).status();
    EXPECT_EQ(FailureOf(status), Failure::kInputFile);
    EXPECT_THAT(std::string(status.message()), HasSubstr("CRC-32"));
  }
}

TEST_F(TorchScriptTest, DamageAnywhereIsRefusedOrHarmless) {
  const std::string bytes = BytesOf(RegularisedModule());
  const auto intact = Load(RegularisedModule());
  RandomStream random({.seed = 1, .purpose = "damage"});
  int refused = 0;
  for (int trial = 0; trial < 300; ++trial) {
    std::string damaged = bytes;
    damaged[random.Below(damaged.size())] ^= 1 << random.Below(8);
    const auto model = Load(damaged);
    if (!model.ok()) {
      EXPECT_EQ(FailureOf(model.status()), Failure::kInputFile)
          << model.status();
      ++refused;
      continue;
    }
    EXPECT_EQ(Sha256Hex((*model)->parameters()),
              Sha256Hex(intact->parameters()));
    EXPECT_EQ(Sha256Hex((*model)->buffers()), Sha256Hex(intact->buffers()));
  }
  EXPECT_GT(refused, 0);
}

TEST_F(TorchScriptTest, AModuleForOtherDataIsAConfigError) {
  const std::string bytes = BytesOf(LinearModule());
  const absl::Status shape = Load(bytes, Context({1, 28, 28})).status();
  EXPECT_EQ(FailureOf(shape), Failure::kConfig);
  EXPECT_THAT(std::string(shape.message()),
              AllOf(HasSubstr("[1, 28, 28]"), Not(HasSubstr("\n"))));
  const absl::Status classes = Load(bytes, Context({1, 2, 3}, 5)).status();
  EXPECT_EQ(FailureOf(classes), Failure::kConfig);
  EXPECT_THAT(std::string(classes.message()),
              AllOf(HasSubstr("[1, 4]"), HasSubstr("5 classes")));
}

TEST_F(TorchScriptTest, AModuleWithoutParametersOrForwardIsRefused) {
  torch::jit::Module frozen("Frozen");
  frozen.define("def forward(self, x):\n    return torch.flatten(x, 1)\n");
  const absl::Status status =
      Load(BytesOf(frozen), Context({1, 2, 3}, 6)).status();
  EXPECT_EQ(FailureOf(status), Failure::kInputFile);
  EXPECT_THAT(std::string(status.message()), HasSubstr("no parameters"));

  torch::jit::Module silent("Silent");
  silent.register_parameter("weight", Leaf(Sines({3})), false);
  const absl::Status missing = Load(BytesOf(silent)).status();
  EXPECT_EQ(FailureOf(missing), Failure::kInputFile);
  EXPECT_THAT(std::string(missing.message()), HasSubstr("forward"));
}

TEST_F(TorchScriptTest, AnErrorOfTheModuleIsAStatus) {
  const auto model = Load(LinearModule());
  EXPECT_FALSE(model->Forward(at::ones({2, 1, 2, 4})).ok());

  torch::jit::Module raising("Raising");
  raising.register_attribute("training", c10::BoolType::get(), true);
  raising.register_parameter("weight", Leaf(Sines({6, 4})), false);
  raising.define(R"(
    def forward(self, x):
        assert not self.training, "no training today"
        return torch.matmul(torch.flatten(x, 1), self.weight)
  )");
  const auto refusing = Load(raising);
  EXPECT_THAT(
      std::string(refusing->Forward(at::ones({2, 1, 2, 3})).status().message()),
      AllOf(HasSubstr("no training today"), Not(HasSubstr("\n"))));
}

TEST_F(TorchScriptTest, Conforms) {
  conformance::Deviations deviations;
  deviations.options.Set(
      "path", ConfigValue(Write(BytesOf(RegularisedModule(784, 10)))));
  deviations.options.Set("trust_file", ConfigValue(true));
  deviations.seed_changes_weights = false;
  conformance::ExpectConforms<TorchScript>(deviations);
}

}  // namespace
}  // namespace fedlb
