// What holds for optimizers whatever their options and the weights.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "fedlb/optimizer.h"
#include "fedlb/tensor_list.h"
#include "plugins/make_optimizer.h"

namespace fedlb {
namespace {

constexpr int kTrials = 25;
constexpr int kSteps = 6;
constexpr const char* kAll[] = {"sgd",     "adam",    "adamw",
                                "lars",    "lamb",    "tvlars",
                                "fedavgm", "fedadam", "fedyogi"};

bool IsOneOf(const std::string& name, const std::vector<std::string>& names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// One random configuration of one optimizer, with weights and gradients.
class Trial {
 public:
  Trial(const std::string& name, int seed)
      : name_(name), random_(1000 + static_cast<uint64_t>(seed)) {}

  double Uniform(double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(random_);
  }
  int64_t Index(int64_t count) {
    return std::uniform_int_distribution<int64_t>(0, count - 1)(random_);
  }

  // Every option but the rate, decay, clipping and eps.
  std::string Options() {
    std::string options;
    const auto set = [&](const char* key, const auto& value) {
      absl::StrAppend(&options, key, " = ", value, "\n");
    };
    if (IsOneOf(name_, {"sgd", "lars", "tvlars", "fedavgm"})) {
      set("momentum", Index(3) == 0 ? 0.0 : Uniform(0.1, 0.95));
    } else {
      set("beta1", Uniform(0, 0.95));
      set("beta2", Uniform(0.5, 0.999));
    }
    if (IsOneOf(name_, {"adamw", "lars", "lamb", "tvlars"})) {
      set("exclude_1d", Index(2) == 0 ? "true" : "false");
    }
    if (IsOneOf(name_, {"lars", "tvlars"})) {
      set("trust_coefficient", Uniform(0.001, 0.5));
    }
    if (name_ == "tvlars") {
      set("lambda", Uniform(0, 1));
      set("delay", Index(5));
      set("alpha", Uniform(0.1, 2));
      set("gamma_min", Uniform(0, 1));
    }
    return options;
  }

  bool decays() const {
    return !IsOneOf(name_, {"fedavgm", "fedadam", "fedyogi"});
  }
  std::string NoDecay() const { return decays() ? "weight_decay = 0\n" : ""; }
  std::string RandomDecay() {
    return decays() ? absl::StrCat("weight_decay = ", Uniform(0, 0.5), "\n")
                    : "";
  }
  // A multiple of 1/8, which options say exactly.
  double ClipNorm() { return static_cast<double>(1 + Index(40)) / 8; }
  std::string RandomClip() {
    return absl::StrCat("clip_norm = ", ClipNorm(), "\n");
  }

  std::vector<std::vector<int64_t>> Shapes() {
    constexpr int64_t kSizes[] = {1, 2, 3, 7, 16, 33};
    std::vector<std::vector<int64_t>> shapes(static_cast<size_t>(1 + Index(4)));
    for (std::vector<int64_t>& shape : shapes) {
      shape.resize(static_cast<size_t>(Index(4)));
      for (int64_t& size : shape) {
        size = kSizes[Index(6)];
      }
    }
    return shapes;
  }

  TensorList Tensors(const std::vector<std::vector<int64_t>>& shapes,
                     at::ScalarType dtype) {
    TensorList tensors;
    for (const std::vector<int64_t>& shape : shapes) {
      tensors.push_back(at::empty(shape, at::kDouble));
      auto* values = tensors.back().mutable_data_ptr<double>();
      for (int64_t i = 0; i < tensors.back().numel(); ++i) {
        values[i] = std::normal_distribution<double>()(random_);
      }
      tensors.back() = tensors.back().to(dtype);
    }
    return tensors;
  }

 private:
  const std::string name_;
  std::mt19937_64 random_;
};

double Distance(const TensorList& a, const TensorList& b) {
  TensorList difference = Clone(a);
  AddScaled(b, -1, difference);
  return std::sqrt(SquaredNorm(difference));
}

double Norm(const at::Tensor& tensor) {
  return std::sqrt(SquaredNorm({tensor}));
}

class OptimizerPropertiesTest : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(All, OptimizerPropertiesTest,
                         ::testing::ValuesIn(kAll),
                         [](const auto& info) { return info.param; });

TEST_P(OptimizerPropertiesTest, NoGradientAndNoDecayLeaveTheWeights) {
  for (int seed = 0; seed < kTrials; ++seed) {
    Trial trial(GetParam(), seed);
    const std::string options = trial.Options() + trial.NoDecay();
    const auto optimizer = MakeOptimizer(GetParam(), options);
    const auto shapes = trial.Shapes();
    TensorList weights = trial.Tensors(shapes, at::kFloat);
    const std::string before = Sha256Hex(weights);
    const TensorList gradient = ZerosLike(weights);
    for (int t = 0; t < kSteps; ++t) {
      ASSERT_TRUE(optimizer->Step(gradient, 0.5, weights).ok());
    }
    EXPECT_EQ(Sha256Hex(weights), before) << options;
  }
}

TEST_P(OptimizerPropertiesTest, ASavedStateGoesOnWithTheSameBits) {
  for (int seed = 0; seed < kTrials; ++seed) {
    Trial trial(GetParam(), seed);
    const std::string options =
        trial.Options() + trial.RandomDecay() + trial.RandomClip();
    const auto shapes = trial.Shapes();
    TensorList weights = trial.Tensors(shapes, at::kFloat);
    TensorList resumed_weights;
    const auto optimizer = MakeOptimizer(GetParam(), options);
    const auto resumed = MakeOptimizer(GetParam(), options);
    const int64_t stop = trial.Index(kSteps);
    for (int t = 0; t < kSteps; ++t) {
      if (t == stop) {
        resumed_weights = Clone(weights);
        ASSERT_TRUE(resumed->LoadState(optimizer->SaveState()).ok());
      }
      const TensorList gradient = trial.Tensors(shapes, at::kFloat);
      const double lr = trial.Uniform(0, 0.2);
      ASSERT_TRUE(optimizer->Step(gradient, lr, weights).ok());
      if (t >= stop) {
        ASSERT_TRUE(resumed->Step(gradient, lr, resumed_weights).ok());
      }
    }
    EXPECT_EQ(Sha256Hex(weights), Sha256Hex(resumed_weights)) << options;
  }
}

// A gradient that was scaled down beforehand, by the rule of PyTorch.
TEST_P(OptimizerPropertiesTest, ClippingIsAScalingOfTheGradient) {
  int clipped_steps = 0;
  for (int seed = 0; seed < kTrials; ++seed) {
    Trial trial(GetParam(), seed);
    const std::string options = trial.Options() + trial.RandomDecay();
    const double clip_norm = trial.ClipNorm();
    const auto shapes = trial.Shapes();
    TensorList weights = trial.Tensors(shapes, at::kDouble);
    TensorList expected = Clone(weights);
    const auto clipping = MakeOptimizer(
        GetParam(), absl::StrCat(options, "clip_norm = ", clip_norm));
    const auto plain = MakeOptimizer(GetParam(), options);
    for (int t = 0; t < kSteps; ++t) {
      TensorList gradient = trial.Tensors(shapes, at::kDouble);
      ASSERT_TRUE(clipping->Step(gradient, 0.1, weights).ok());
      const double norm = std::sqrt(SquaredNorm(gradient));
      clipped_steps += norm > clip_norm ? 1 : 0;
      Scale(std::min(1.0, clip_norm / (norm + 1e-6)), gradient);
      ASSERT_TRUE(plain->Step(gradient, 0.1, expected).ok());
    }
    EXPECT_LE(Distance(weights, expected),
              1e-11 * std::sqrt(SquaredNorm(expected)))
        << options << clip_norm;
  }
  EXPECT_GT(clipped_steps, kTrials);
}

TEST_P(OptimizerPropertiesTest, TheNumberOfThreadsChangesNoBit) {
  const int threads = at::get_num_threads();
  Trial trial(GetParam(), 0);
  const std::string options =
      trial.Options() + trial.RandomDecay() + trial.RandomClip();
  const TensorList start = trial.Tensors({{300, 301}, {70000}}, at::kFloat);
  const TensorList gradient = trial.Tensors({{300, 301}, {70000}}, at::kFloat);
  std::vector<std::string> digests;
  for (const int count : {1, 4}) {
    at::set_num_threads(count);
    TensorList weights = Clone(start);
    const auto optimizer = MakeOptimizer(GetParam(), options);
    for (int t = 0; t < 3; ++t) {
      EXPECT_TRUE(optimizer->Step(gradient, 0.1, weights).ok());
    }
    digests.push_back(Sha256Hex(weights));
  }
  at::set_num_threads(threads);
  EXPECT_EQ(digests[0], digests[1]);
}

TEST_P(OptimizerPropertiesTest, OrderInMemoryChangesNoBit) {
  Trial trial(GetParam(), 0);
  const std::string options = trial.Options() + trial.RandomDecay();
  TensorList plain = trial.Tensors({{61, 83}}, at::kFloat);
  TensorList transposed = {plain[0].t().contiguous().t()};
  const auto first = MakeOptimizer(GetParam(), options);
  const auto second = MakeOptimizer(GetParam(), options);
  for (int t = 0; t < kSteps; ++t) {
    const TensorList gradient = trial.Tensors({{61, 83}}, at::kFloat);
    ASSERT_TRUE(first->Step(gradient, 0.1, plain).ok());
    ASSERT_TRUE(second->Step(gradient, 0.1, transposed).ok());
  }
  ASSERT_FALSE(transposed[0].is_contiguous());
  EXPECT_EQ(Sha256Hex(plain), Sha256Hex(transposed));
}

// Sizes around those of the blocks and lanes in which norms are summed.
TEST_P(OptimizerPropertiesTest, LoopsOfAnySizeAgreeWithOperators) {
  for (const int64_t size : {0, 1, 15, 16, 17, 1023, 1024, 1025, 3001}) {
    Trial trial(GetParam(), 0);
    const std::string options =
        trial.Options() + trial.RandomDecay() + trial.RandomClip();
    TensorList plain = trial.Tensors({{1, size}}, at::kDouble);
    TensorList gaps = {
        at::zeros({1, 2 * size}, at::kDouble).slice(1, 0, 2 * size, 2)};
    gaps[0].copy_(plain[0]);
    const auto first = MakeOptimizer(GetParam(), options);
    const auto second = MakeOptimizer(GetParam(), options);
    for (int t = 0; t < kSteps; ++t) {
      const TensorList gradient = trial.Tensors({{1, size}}, at::kDouble);
      ASSERT_TRUE(first->Step(gradient, 0.1, plain).ok());
      ASSERT_TRUE(second->Step(gradient, 0.1, gaps).ok());
    }
    EXPECT_LE(Distance(plain, gaps), 1e-12 * Norm(plain[0])) << size;
  }
}

TEST(ClippingTest, NoStepIsLongerThanTheClippedGradient) {
  for (int seed = 0; seed < kTrials; ++seed) {
    Trial trial("sgd", seed);
    const auto shapes = trial.Shapes();
    TensorList weights = trial.Tensors(shapes, at::kDouble);
    const TensorList before = Clone(weights);
    const double clip_norm = trial.ClipNorm();
    const auto optimizer =
        MakeOptimizer("sgd", absl::StrCat("clip_norm = ", clip_norm));
    TensorList gradient = trial.Tensors(shapes, at::kDouble);
    Scale(100 / std::sqrt(SquaredNorm(gradient)), gradient);
    ASSERT_TRUE(optimizer->Step(gradient, 1, weights).ok());
    EXPECT_NEAR(Distance(weights, before), clip_norm, 1e-5 * clip_norm);
  }
}

// With neither momentum nor decay the direction has the norm that it is divided
// by.
TEST(LarsPropertiesTest, AStepMovesAShareOfALayersNorm) {
  for (int seed = 0; seed < kTrials; ++seed) {
    Trial trial("lars", seed);
    const auto optimizer =
        MakeOptimizer("lars", "momentum = 0\ntrust_coefficient = 0.03125");
    const auto shapes = trial.Shapes();
    TensorList weights = trial.Tensors(shapes, at::kDouble);
    const TensorList before = Clone(weights);
    const TensorList gradient = trial.Tensors(shapes, at::kDouble);
    const double lr = trial.Uniform(0.1, 10);
    ASSERT_TRUE(optimizer->Step(gradient, lr, weights).ok());
    for (size_t i = 0; i < weights.size(); ++i) {
      const double expected = weights[i].dim() > 1
                                  ? lr * 0.03125 * Norm(before[i])
                                  : lr * Norm(gradient[i]);
      EXPECT_NEAR(Distance({weights[i]}, {before[i]}), expected,
                  1e-12 * expected);
    }
  }
}

// Adam's direction and decay together have the norm that they are divided by.
TEST(LambPropertiesTest, EveryStepMovesAShareOfALayersNorm) {
  for (int seed = 0; seed < kTrials; ++seed) {
    Trial trial("lamb", seed);
    const std::string options = trial.Options() + trial.RandomDecay();
    const auto optimizer = MakeOptimizer("lamb", options);
    TensorList weights = trial.Tensors({{3, 5}, {7, 2, 2}}, at::kDouble);
    for (int t = 0; t < kSteps; ++t) {
      const TensorList before = Clone(weights);
      const TensorList gradient =
          trial.Tensors({{3, 5}, {7, 2, 2}}, at::kDouble);
      const double lr = trial.Uniform(0.01, 0.5);
      ASSERT_TRUE(optimizer->Step(gradient, lr, weights).ok());
      for (size_t i = 0; i < weights.size(); ++i) {
        const double expected = lr * Norm(before[i]);
        EXPECT_NEAR(Distance({weights[i]}, {before[i]}), expected,
                    1e-12 * expected)
            << options;
      }
    }
  }
}

// Within eps, and where no decay is added to the gradient.
TEST(ScaleInvarianceTest, TheGradientsScaleDoesNotMatter) {
  for (const std::string name : {"adam", "adamw", "lamb", "lars", "tvlars"}) {
    for (int seed = 0; seed < kTrials; ++seed) {
      Trial trial(name, seed);
      const bool layers_only = name == "lars" || name == "tvlars";
      const std::string options =
          trial.Options() + (layers_only ? "" : "eps = 1e-30\n") +
          (name == "adamw" || name == "lamb" ? trial.RandomDecay()
                                             : trial.NoDecay());
      // Tensors that lars leaves out do depend on the scale.
      const std::vector<std::vector<int64_t>> shapes =
          layers_only ? std::vector<std::vector<int64_t>>{{3, 4}, {5, 2, 2}}
                      : trial.Shapes();
      const double scale = std::exp(trial.Uniform(-7, 7));
      TensorList weights = trial.Tensors(shapes, at::kDouble);
      TensorList scaled_weights = Clone(weights);
      const auto optimizer = MakeOptimizer(name, options);
      const auto scaled = MakeOptimizer(name, options);
      for (int t = 0; t < kSteps; ++t) {
        TensorList gradient = trial.Tensors(shapes, at::kDouble);
        ASSERT_TRUE(optimizer->Step(gradient, 0.1, weights).ok());
        Scale(scale, gradient);
        ASSERT_TRUE(scaled->Step(gradient, 0.1, scaled_weights).ok());
      }
      EXPECT_LE(Distance(weights, scaled_weights),
                1e-11 * std::sqrt(SquaredNorm(weights)))
          << name << "\n"
          << options << scale;
    }
  }
}

// Without adaptation and decay, and at one rate, the momentum of lars is that
// of sgd.
TEST(ExclusionTest, BiasesTakeTheStepOfSgd) {
  for (const std::string name : {"lars", "tvlars"}) {
    for (int seed = 0; seed < kTrials; ++seed) {
      Trial trial(name, seed);
      const auto optimizer =
          MakeOptimizer(name, "momentum = 0.75\nweight_decay = 0.3");
      const auto sgd = MakeOptimizer("sgd", "momentum = 0.75");
      const std::vector<std::vector<int64_t>> shapes = {{33}, {}, {1}};
      TensorList weights = trial.Tensors(shapes, at::kDouble);
      TensorList expected = Clone(weights);
      for (int t = 0; t < kSteps; ++t) {
        const TensorList gradient = trial.Tensors(shapes, at::kDouble);
        ASSERT_TRUE(optimizer->Step(gradient, 0.1, weights).ok());
        ASSERT_TRUE(sgd->Step(gradient, 0.1, expected).ok());
      }
      EXPECT_LE(Distance(weights, expected),
                1e-13 * std::sqrt(SquaredNorm(expected)));
    }
  }
}

TEST(ExclusionTest, BiasesTakeTheStepOfAdamInLamb) {
  Trial trial("lamb", 0);
  const auto lamb = MakeOptimizer("lamb", "weight_decay = 0.3");
  const auto adam = MakeOptimizer("adam", "eps = 1e-6");
  TensorList weights = trial.Tensors({{33}, {}}, at::kDouble);
  TensorList expected = Clone(weights);
  for (int t = 0; t < kSteps; ++t) {
    const TensorList gradient = trial.Tensors({{33}, {}}, at::kDouble);
    ASSERT_TRUE(lamb->Step(gradient, 0.1, weights).ok());
    ASSERT_TRUE(adam->Step(gradient, 0.1, expected).ok());
  }
  EXPECT_LE(Distance(weights, expected),
            1e-13 * std::sqrt(SquaredNorm(expected)));
}

}  // namespace
}  // namespace fedlb
