#include "subspace_autoencoder.h"

#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "displacement_gain.h"
#include "fedlb/status.h"
#include "fedlb/tensor_list.h"
#include "plugins/make_component.h"

namespace fedlb {
namespace {

using teacher::DisplacementGain;
using teacher::SubspaceAutoencoder;
using ::testing::HasSubstr;

TEST(DisplacementGainTest, IsTheSumOfThePowersOfTheContraction) {
  // 1 + (1 - z) + ... + (1 - z)^(K - 1).
  for (const double z : {1e-9, 0.01, 0.3, 0.5, 0.99}) {
    for (const int steps : {1, 2, 16, 100}) {
      double sum = 0;
      for (int k = 0; k < steps; ++k) {
        sum += std::pow(1 - z, k);
      }
      EXPECT_NEAR(DisplacementGain(z, steps), sum, 1e-9 * sum)
          << z << " " << steps;
    }
  }
}

TEST(DisplacementGainTest, EndsWhereTheCurvatureBeginsToOvershoot) {
  EXPECT_EQ(DisplacementGain(0, 16), 16);
  EXPECT_EQ(DisplacementGain(1, 16), 1);
  EXPECT_EQ(DisplacementGain(4, 16), 0.25);
}

// A teacher for gradients like `like`.
std::unique_ptr<SubspaceAutoencoder> MakeFor(const TensorList& like,
                                             const std::string& options) {
  TensorLayout layout;
  for (const at::Tensor& tensor : like) {
    layout.push_back({"w", tensor.sizes().vec(), tensor.scalar_type()});
  }
  auto teacher = Make<SubspaceAutoencoder>(options);
  EXPECT_EQ(teacher->Prepare(layout), absl::OkStatus());
  return teacher;
}

TensorList Vector(int64_t numel) { return {at::zeros({numel}, at::kDouble)}; }

// m of the tests below.
constexpr double kGroupExamples = 32;

TeacherStep Step(double lr, double small_steps,
                 std::vector<TensorList> partial_means) {
  TeacherStep step;
  step.context.lr = lr;
  step.context.batch_size = static_cast<int64_t>(kGroupExamples) *
                            static_cast<int64_t>(partial_means.size());
  step.context.partial_means = std::move(partial_means);
  step.small_steps = small_steps;
  return step;
}

// Partial means whose second moment is diag(curvature) / m: for every
// coordinate with curvature, one up and one down.
std::vector<TensorList> MeansWithCurvature(
    const std::vector<double>& curvature) {
  int64_t curved = 0;
  for (const double c : curvature) {
    curved += c > 0 ? 1 : 0;
  }
  const auto groups = static_cast<double>(2 * curved);
  std::vector<TensorList> means;
  const auto numel = static_cast<int64_t>(curvature.size());
  for (int64_t j = 0; j < numel; ++j) {
    const double c = curvature[static_cast<size_t>(j)];
    for (const double sign : {1.0, -1.0}) {
      if (c > 0) {
        at::Tensor mean = at::zeros({numel}, at::kDouble);
        mean[j].fill_(sign * std::sqrt(c * groups / 2 / kGroupExamples));
        means.push_back({mean});
      }
    }
  }
  return means;
}

void Learn(Teacher& teacher, const TeacherStep& step) {
  TensorList image = ZerosLike(step.context.partial_means.front());
  ASSERT_EQ(teacher.Map(step, image), absl::OkStatus());
  ASSERT_EQ(teacher.Observe(step), absl::OkStatus());
}

TEST(SubspaceAutoencoderTest, EqualsManySmallStepsOnAQuadratic) {
  const std::vector<double> curvature = {8, 5, 2, 1, 0.2, 0.1, 0, 0, 0};
  const std::vector<double> start = {1, -2, 0.5, 3, -1, 4, 1, 1, -2};
  // Beyond the curved directions the gradient is constant.
  const std::vector<double> slope = {0, 0, 0, 0, 0, 0, 0.3, -1, 2};
  constexpr double kLr = 0.1;
  constexpr int kSteps = 16;
  const auto gradient_at = [&](const std::vector<double>& w) {
    std::vector<double> gradient;
    for (size_t j = 0; j < w.size(); ++j) {
      gradient.push_back(curvature[j] * w[j] + slope[j]);
    }
    return gradient;
  };
  std::vector<double> w = start;
  for (int k = 0; k < kSteps; ++k) {
    const std::vector<double> gradient = gradient_at(w);
    for (size_t j = 0; j < w.size(); ++j) {
      w[j] -= kLr * gradient[j];
    }
  }

  const auto teacher = MakeFor(
      Vector(9), "rank = 6\nforgetting = 0\nmin_gain = 0\nclip_norm = 0");
  const TeacherStep step = Step(kLr, kSteps, MeansWithCurvature(curvature));
  Learn(*teacher, step);
  TensorList image = {ToTensor(gradient_at(start))};
  ASSERT_EQ(teacher->Map(step, image), absl::OkStatus());
  for (size_t j = 0; j < w.size(); ++j) {
    EXPECT_NEAR(image[0][static_cast<int64_t>(j)].item<double>(),
                (start[j] - w[j]) / kLr, 1e-5)
        << j;
  }
}

TEST(SubspaceAutoencoderTest, SplitsTheGainBetweenCodeAndResidual) {
  // z = lr m s^2 = lr * curvature = 2 along the first coordinate: gain 1/2.
  const auto teacher =
      MakeFor(Vector(3),
              "rank = 1\nforgetting = 0\nmin_gain = 0.1\nclip_norm = 0\n"
              "bulk_gain = 8");
  const TeacherStep step = Step(0.1, 16, MeansWithCurvature({20, 0, 0}));
  Learn(*teacher, step);
  TensorList image = {at::tensor({4.0, 1.0, -2.0}, at::kDouble)};
  ASSERT_EQ(teacher->Map(step, image), absl::OkStatus());
  EXPECT_NEAR(image[0][0].item<double>(), 2, 1e-12);
  EXPECT_NEAR(image[0][1].item<double>(), 8, 1e-12);
  EXPECT_NEAR(image[0][2].item<double>(), -16, 1e-12);
  const ScalarMap report = teacher->Report();
  EXPECT_NEAR(report.at("gain"), 8, 1e-12);
  EXPECT_NEAR(report.at("code_gain"), 0.5, 1e-12);
  EXPECT_NEAR(report.at("code_energy"), 16.0 / 21, 1e-12);
  EXPECT_NEAR(report.at("norm_ratio"), std::sqrt(324.0 / 21), 1e-12);
  EXPECT_NEAR(report.at("cosine"), 48 / std::sqrt(21.0 * 324), 1e-12);
  EXPECT_EQ(report.at("clip_factor"), 1);
}

TEST(SubspaceAutoencoderTest, GainsStayWithinTheirBounds) {
  const auto teacher =
      MakeFor(Vector(3),
              "rank = 2\nforgetting = 0\nmin_gain = 0.5\nbulk_gain = 4\n"
              "clip_norm = 0");
  // Gains of 0.1 and 16 by the formula.
  const TeacherStep step = Step(0.1, 16, MeansWithCurvature({100, 1e-6, 0}));
  Learn(*teacher, step);
  TensorList image = {at::tensor({1.0, 1.0, 1.0}, at::kDouble)};
  ASSERT_EQ(teacher->Map(step, image), absl::OkStatus());
  EXPECT_NEAR(image[0][0].item<double>(), 0.5, 1e-9);
  EXPECT_NEAR(image[0][1].item<double>(), 4, 1e-6);
  EXPECT_NEAR(image[0][2].item<double>(), 4, 1e-12);
}

TEST(SubspaceAutoencoderTest, ClipsTheImage) {
  const auto teacher = MakeFor(Vector(2), "rank = 0\nclip_norm = 2");
  TensorList image = {at::tensor({3.0, 4.0}, at::kDouble)};
  ASSERT_EQ(teacher->Map(Step(0.1, 16, {}), image), absl::OkStatus());
  EXPECT_NEAR(image[0][0].item<double>(), 1.2, 1e-12);
  EXPECT_NEAR(image[0][1].item<double>(), 1.6, 1e-12);
  EXPECT_NEAR(teacher->Report().at("clip_factor"), 2.0 / 80, 1e-12);
}

TEST(SubspaceAutoencoderTest, RankZeroAndGainOneIsTheIdentityBitForBit) {
  TensorList image = {at::tensor({0.1F, -0.0F, 1e-42F, 3e38F}),
                      at::tensor({-7.3F, 1.0F / 3})};
  const auto teacher = MakeFor(image, "rank = 0\nbulk_gain = 1\nclip_norm = 0");
  const std::string before = Sha256Hex(image);
  ASSERT_EQ(teacher->Map(Step(0.1, 16, {}), image), absl::OkStatus());
  EXPECT_EQ(Sha256Hex(image), before);
}

// By hand: the first step of Adam's coordinates has v = g^2 after the
// correction, s = |g|^(-1/2), and a gradient that passes as it is: s^2 g =
// sign(g).
TEST(SubspaceAutoencoderTest, AdamsCoordinatesBeginWithTheSign) {
  const auto teacher = MakeFor(Vector(3), "coordinates = 'adam'\nrank = 2");
  TensorList image = {at::tensor({3.0, -0.5, 1e-3}, at::kDouble)};
  const TeacherStep step = Step(0.003, 8, {Clone(image), Clone(image)});
  ASSERT_EQ(teacher->Map(step, image), absl::OkStatus());
  EXPECT_NEAR(image[0][0].item<double>(), 1, 1e-7);
  EXPECT_NEAR(image[0][1].item<double>(), -1, 1e-7);
  EXPECT_NEAR(image[0][2].item<double>(), 1, 1e-4);
}

// Rank 0 leaves Adam without the root of the second step's first moment: with
// gain a, a times Adam's step of PyTorch's defaults but for beta2.
TEST(SubspaceAutoencoderTest, WithoutACodeAdamsCoordinatesAreAdam) {
  const auto teacher =
      MakeFor(Vector(1), "coordinates = 'adam'\nrank = 0\nbulk_gain = 2");
  const std::vector<double> gradients = {0.5, -1, 2, 0.25};
  double first = 0;
  double second = 0;
  for (size_t t = 1; t <= gradients.size(); ++t) {
    const double g = gradients[t - 1];
    second = 0.99 * second + 0.01 * g * g;
    const double root =
        std::sqrt(second / (1 - std::pow(0.99, static_cast<double>(t))));
    first = 0.9 * first + 0.1 * 2 * g / (root + 1e-8);
    TensorList image = {at::tensor({g}, at::kDouble)};
    ASSERT_EQ(teacher->Map(Step(0.001, 8, {}), image), absl::OkStatus());
    EXPECT_NEAR(image[0][0].item<double>(),
                first / (1 - std::pow(0.9, static_cast<double>(t))), 1e-12);
  }
}

TEST(SubspaceAutoencoderTest, ALayersBasisKnowsItsLayerOnly) {
  // Two layers: weight [2, 1] with bias [1], and weight [2, 1].
  const auto tensors = [](double a, double b, double c) {
    return TensorList{at::full({2, 1}, a, at::kDouble),
                      at::full({1}, b, at::kDouble),
                      at::full({2, 1}, c, at::kDouble)};
  };
  const auto teacher =
      MakeFor(tensors(0, 0, 0),
              "basis = 'layer'\nrank = 1\nforgetting = 0\nbulk_gain = 8\n"
              "clip_norm = 0\nmin_gain = 0");
  // The first layer's gradients lie along (1, 1, 0), the second's along (1, 1).
  // s^2 = 2 and 8, m = 32: z = 0.64 and 2.56 at lr 0.01.
  const TeacherStep step =
      Step(0.01, 16, {tensors(1, 0, 2), tensors(-1, 0, 2)});
  Learn(*teacher, step);
  TensorList image = tensors(1, 1, 1);
  ASSERT_EQ(teacher->Map(step, image), absl::OkStatus());
  const double first = DisplacementGain(0.64, 16);
  EXPECT_NEAR(image[0][0].item<double>(), first, 1e-9);
  EXPECT_NEAR(image[0][1].item<double>(), first, 1e-9);
  EXPECT_NEAR(image[1][0].item<double>(), 8, 1e-9);
  EXPECT_NEAR(image[2][0].item<double>(), 1 / 2.56, 1e-9);
}

// The codes of pairs come on top: less than a hundredth here.
TEST(SubspaceAutoencoderTest, StateIsSixteenTimesTheModelAndLittleMore) {
  const TensorLayout layout = {{"a.weight", {256, 1024}, at::kFloat},
                               {"a.bias", {256}, at::kFloat},
                               {"b.weight", {100, 256}, at::kFloat},
                               {"b.bias", {100}, at::kFloat}};
  const int64_t bytes = Make<SubspaceAutoencoder>("basis = 'layer'\nrank = 16")
                            ->StateBytes(layout);
  EXPECT_GE(bytes, 16 * NumBytes(layout));
  EXPECT_LE(bytes, 16 * NumBytes(layout) * 1.01);
}

TEST(SubspaceAutoencoderTest, UpdatesAsOftenAsAsked) {
  const auto teacher =
      MakeFor(Vector(4), "rank = 2\nupdate_every = 3\nclip_norm = 0");
  std::vector<std::string> bases;
  for (int step = 0; step < 7; ++step) {
    const double x = step;
    Learn(*teacher, Step(0.1, 16,
                         {{ToTensor({1 + x, 1 + x, 1 + x, 1 + x})},
                          {ToTensor({1, x, 0, 2})}}));
    bases.push_back(Sha256Hex(teacher->SaveState().tensors.at("basis")));
  }
  EXPECT_EQ(bases[0], bases[1]);
  EXPECT_EQ(bases[1], bases[2]);
  EXPECT_NE(bases[2], bases[3]);
  EXPECT_EQ(bases[3], bases[5]);
  EXPECT_NE(bases[5], bases[6]);
}

TEST(SubspaceAutoencoderTest, BadSettingsAreRefused) {
  for (const char* options :
       {"rank = -1", "forgetting = 1.0", "update_every = 0",
        "coordinates = 'polar'", "basis = 'row'", "clip_norm = -0.5",
        "min_gain = 2.0\nbulk_gain = 1.0", "eps = 0"}) {
    EXPECT_EQ(FailureOf(TryMake<SubspaceAutoencoder>(options).status()),
              Failure::kConfig)
        << options;
  }
  const absl::Status status =
      Make<SubspaceAutoencoder>("rank = 8")->Prepare({{"w", {4}, at::kDouble}});
  EXPECT_EQ(FailureOf(status), Failure::kConfig);
  EXPECT_THAT(std::string(status.message()), HasSubstr("rank = 8"));
}

TEST(SubspaceAutoencoderTest, AStateOfAnotherModelIsRefused) {
  const auto small = MakeFor(Vector(4), "rank = 2");
  Learn(*small, Step(0.1, 16, {{at::full({4}, 1.0, at::kDouble)}}));
  const absl::Status status =
      MakeFor(Vector(6), "rank = 2")->LoadState(small->SaveState());
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("6 parameters"));

  ComponentState cut = small->SaveState();
  cut.tensors.at("singular_values").clear();
  EXPECT_EQ(small->LoadState(cut).code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace fedlb
