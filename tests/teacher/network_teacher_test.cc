// The teachers that are fitted by gradient descent.

#include "network_teacher.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/full_like.h>
#include <gtest/gtest.h>

#include "fedlb/random.h"
#include "piece_autoencoder.h"
#include "piece_grid.h"
#include "plugins/make_component.h"
#include "transformer.h"

namespace fedlb {
namespace {

using teacher::PieceAutoencoder;
using teacher::PieceGrid;
using teacher::Transformer;

TensorLayout Layout() {
  return {{"conv.weight", {4, 3, 3}},
          {"conv.bias", {4}},
          {"fc.weight", {10, 20}},
          {"fc.bias", {10}}};
}

TensorList Random(uint64_t seed, at::ScalarType dtype = at::kFloat) {
  TensorList tensors;
  RandomStream random({.seed = seed, .purpose = "test"});
  for (const TensorSpec& spec : Layout()) {
    at::Tensor tensor = Zeros({spec}).front();
    float* const data = tensor.data_ptr<float>();
    for (int64_t i = 0; i < tensor.numel(); ++i) {
      data[i] = static_cast<float>(random.Normal());
    }
    tensors.push_back(tensor.to(dtype));
  }
  return tensors;
}

TeacherStep Step(int64_t index) {
  TeacherStep step;
  step.context.step = step.context.round = index;
  step.context.lr = 0.1;
  step.context.batch_size = 64;
  step.small_steps = 16;
  return step;
}

// Displacements that are the gradient times a gain of each layer.
DisplacementPair PairOf(uint64_t seed, double first_gain, double last_gain) {
  DisplacementPair pair;
  pair.small_steps = 16;
  pair.gradient = Random(seed);
  pair.displacement = Clone(pair.gradient);
  for (size_t i = 0; i < pair.displacement.size(); ++i) {
    pair.displacement[i].mul_(i < 2 ? first_gain : last_gain);
  }
  return pair;
}

double RelativeError(const TensorList& image, const TensorList& target) {
  TensorList missed = Clone(image);
  AddScaled(target, -1, missed);
  return SquaredNorm(missed) / SquaredNorm(target);
}

TEST(PieceGridTest, CutsEveryTensorAndPutsItTogetherAgain) {
  for (const int64_t size : {1, 7, 20, 36, 1000}) {
    const PieceGrid grid(Layout(), size);
    const TensorList tensors = Random(3);
    at::Tensor rows = grid.Gather(tensors);
    ASSERT_EQ(rows.size(0), grid.num_pieces());
    EXPECT_EQ(grid.Counts().sum().item<double>(), NumElements(tensors));
    EXPECT_NEAR(SquaredNorm({rows}), SquaredNorm(tensors), 1e-3);
    TensorList back = ZerosLike(tensors);
    grid.Scatter(rows, back);
    EXPECT_EQ(Sha256Hex(back), Sha256Hex(tensors)) << size;
    // Whatever stands in the padding.
    rows.add_(at::full_like(rows, 5));
    grid.ClearPadding(rows);
    grid.Scatter(rows, back);
    EXPECT_NEAR(SquaredNorm({rows}), SquaredNorm(back), 1e-1);
  }
}

TEST(PieceGridTest, KnowsWhichTensorAPieceIsOf) {
  const PieceGrid grid(Layout(), 20);
  EXPECT_EQ(grid.TensorOfPiece(),
            (std::vector<int64_t>{0, 0, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3}));
}

template <typename T>
class NetworkTeacherTest : public ::testing::Test {
 protected:
  NetworkTeacherTest() { at::set_num_threads(1); }

  static std::unique_ptr<T> Prepared(const std::string& options = "") {
    std::unique_ptr<T> teacher = Make<T>(options);
    EXPECT_EQ(teacher->Prepare(Layout()), absl::OkStatus());
    return teacher;
  }
  // Pairs [begin, end) of the two gains, each with a fit.
  static void Learn(Teacher& teacher, int64_t begin, int64_t end,
                    double first_gain, double last_gain) {
    for (int64_t i = begin; i < end; ++i) {
      ASSERT_EQ(teacher.AddPair(Step(i), PairOf(static_cast<uint64_t>(i),
                                                first_gain, last_gain)),
                absl::OkStatus());
      ASSERT_EQ(teacher.Fit(), absl::OkStatus());
    }
  }
  static TensorList Image(Teacher& teacher, const TensorList& gradient,
                          TeacherScaling scaling) {
    TensorList image = Clone(gradient);
    TeacherStep step = Step(50);
    step.scaling = scaling;
    EXPECT_EQ(teacher.Map(step, image), absl::OkStatus());
    return image;
  }
};

using Teachers = ::testing::Types<Transformer, PieceAutoencoder>;
TYPED_TEST_SUITE(NetworkTeacherTest, Teachers);

TYPED_TEST(NetworkTeacherTest, GradientsStayUntilThereAreThreePairs) {
  const auto teacher = this->Prepared();
  this->Learn(*teacher, 0, 2, 3, 3);
  EXPECT_FALSE(teacher->fitted());
  const TensorList gradient = Random(7);
  EXPECT_EQ(
      Sha256Hex(this->Image(*teacher, gradient, TeacherScaling::kNormMatch)),
      Sha256Hex(gradient));
  this->Learn(*teacher, 2, 3, 3, 3);
  EXPECT_TRUE(teacher->fitted());
}

TYPED_TEST(NetworkTeacherTest, FindsAConstantGain) {
  const auto teacher = this->Prepared("clip_norm = 0");
  this->Learn(*teacher, 0, 4, 3, 3);
  EXPECT_NEAR(teacher->FitReport().at("constant_gain"), 3.0 / 16, 1e-4);
  EXPECT_NEAR(teacher->FitReport().at("cosine"), 1, 1e-2);
  const DisplacementPair unseen = PairOf(40, 3, 3);
  for (const TeacherScaling scaling :
       {TeacherScaling::kMse, TeacherScaling::kNormMatch}) {
    EXPECT_LT(RelativeError(this->Image(*teacher, unseen.gradient, scaling),
                            unseen.displacement),
              0.01);
  }
}

// No constant gain does: 0.2 of the displacement's energy would be missed.
TYPED_TEST(NetworkTeacherTest, LearnsThatLayersDiffer) {
  const auto teacher = this->Prepared("fit_steps = 100");
  this->Learn(*teacher, 0, 12, 8, 2);
  const DisplacementPair unseen = PairOf(40, 8, 2);
  double best_gain = 0;
  double energy = 0;
  for (size_t i = 0; i < unseen.gradient.size(); ++i) {
    best_gain += unseen.gradient[i]
                     .mul(unseen.displacement[i])
                     .sum()
                     .template item<double>();
    energy += SquaredNorm({unseen.gradient[i]});
  }
  TensorList scaled = Clone(unseen.gradient);
  Scale(best_gain / energy, scaled);
  const double with_best_gain = RelativeError(scaled, unseen.displacement);
  const double with_teacher = RelativeError(
      this->Image(*teacher, unseen.gradient, TeacherScaling::kMse),
      unseen.displacement);
  EXPECT_GT(with_best_gain, 0.15);
  EXPECT_LT(with_teacher, 0.85 * with_best_gain);
}

TYPED_TEST(NetworkTeacherTest, TheImageIsClipped) {
  const auto teacher = this->Prepared("clip_norm = 1.5");
  this->Learn(*teacher, 0, 3, 3, 3);
  const TensorList gradient = Random(9);
  EXPECT_NEAR(std::sqrt(SquaredNorm(
                  this->Image(*teacher, gradient, TeacherScaling::kNormMatch))),
              1.5, 1e-5);
  EXPECT_LT(teacher->Report().at("clip_factor"), 1);
  // By -1 to nine tenths of the displacements' norm.
  const auto automatic = this->Prepared();
  this->Learn(*automatic, 0, 3, 3, 3);
  std::vector<double> norms;
  for (uint64_t seed = 0; seed < 3; ++seed) {
    norms.push_back(std::sqrt(SquaredNorm(PairOf(seed, 3, 3).displacement)));
  }
  std::sort(norms.begin(), norms.end());
  EXPECT_NEAR(automatic->FitReport().at("clip_norm"), 0.9 * norms[1], 1e-4);
}

TYPED_TEST(NetworkTeacherTest, FitsGoOnFromASavedStateWithTheSameBits) {
  const auto steady = this->Prepared();
  const auto loaded = this->Prepared();
  this->Learn(*steady, 0, 5, 4, 2);
  this->Learn(*loaded, 20, 24, 1, 9);
  ASSERT_EQ(loaded->LoadState(steady->SaveState()), absl::OkStatus());
  const TensorList gradient = Random(9);
  const auto image = [&](Teacher& teacher) {
    return Sha256Hex(
        this->Image(teacher, gradient, TeacherScaling::kNormMatch));
  };
  EXPECT_EQ(image(*loaded), image(*steady));
  this->Learn(*steady, 5, 30, 4, 2);
  this->Learn(*loaded, 5, 30, 4, 2);
  EXPECT_EQ(image(*loaded), image(*steady));
  EXPECT_EQ(loaded->FitReport(), steady->FitReport());

  int64_t held = 0;
  for (const auto& [name, tensors] : steady->SaveState().tensors) {
    held += NumBytes(tensors);
  }
  EXPECT_EQ(held, steady->StateBytes(Layout()));
}

TYPED_TEST(NetworkTeacherTest, GradientsInDoubleStayInDouble) {
  std::unique_ptr<TypeParam> teacher = Make<TypeParam>("");
  TensorLayout layout = Layout();
  for (TensorSpec& spec : layout) {
    spec.dtype = at::kDouble;
  }
  ASSERT_EQ(teacher->Prepare(layout), absl::OkStatus());
  for (uint64_t i = 0; i < 3; ++i) {
    DisplacementPair pair;
    pair.gradient = Random(i, at::kDouble);
    pair.displacement = Clone(pair.gradient);
    ASSERT_EQ(teacher->AddPair(Step(0), pair), absl::OkStatus());
    ASSERT_EQ(teacher->Fit(), absl::OkStatus());
  }
  TensorList image = Random(9, at::kDouble);
  ASSERT_EQ(teacher->Map(Step(4), image), absl::OkStatus());
  EXPECT_EQ(CheckLayout(layout, image), absl::OkStatus());
}

TYPED_TEST(NetworkTeacherTest, UselessPairsAreRefusedOrLeftOut) {
  const auto teacher = this->Prepared();
  DisplacementPair pair = PairOf(1, 2, 2);
  Scale(0, pair.displacement);
  EXPECT_EQ(teacher->AddPair(Step(0), pair), absl::OkStatus());
  EXPECT_FALSE(teacher->SaveState().tensors.contains("pairs"));
  pair.displacement[0].fill_(NAN);
  EXPECT_EQ(teacher->AddPair(Step(0), pair).code(),
            absl::StatusCode::kInvalidArgument);
  pair.displacement.pop_back();
  EXPECT_EQ(teacher->AddPair(Step(0), pair).code(),
            absl::StatusCode::kInvalidArgument);
}

TYPED_TEST(NetworkTeacherTest, DamagedStatesAreRefused) {
  const auto teacher = this->Prepared();
  this->Learn(*teacher, 0, 4, 4, 2);
  const ComponentState good = teacher->SaveState();
  const std::string before = Sha256Hex(good.tensors.at("network"));
  const auto expect_refused = [&](const ComponentState& state) {
    EXPECT_EQ(teacher->LoadState(state).code(),
              absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(Sha256Hex(teacher->SaveState().tensors.at("network")), before);
  };
  ComponentState state = good;
  state.tensors.erase("network");
  expect_refused(state);
  state = good;
  state.tensors["network"].pop_back();
  expect_refused(state);
  state = good;
  state.tensors.erase("features");
  expect_refused(state);
  state = good;
  state.tensors["pairs"].pop_back();
  expect_refused(state);
  state = good;
  state.scalars["cosine"] = NAN;
  expect_refused(state);
  state = good;
  state.scalars.erase("num_fits");
  expect_refused(state);
  EXPECT_EQ(teacher->LoadState(good), absl::OkStatus());
}

TEST(TransformerTest, HeadsMustDivideTheWidth) {
  EXPECT_FALSE(TryMake<Transformer>("heads = 3").ok());
  EXPECT_TRUE(TryMake<Transformer>("heads = 4").ok());
}

// A layer of 600,000 elements makes 2,344 pieces, more than are kept.
TEST(PieceAutoencoderTest, KeepsAPartOfLargeModels) {
  const TensorLayout layout = {{"weight", {600, 1000}}};
  const auto teacher = Make<PieceAutoencoder>("");
  ASSERT_EQ(teacher->Prepare(layout), absl::OkStatus());
  for (uint64_t seed = 0; seed < 3; ++seed) {
    DisplacementPair pair;
    at::Tensor gradient = Zeros(layout).front();
    RandomStream random({.seed = seed, .purpose = "test"});
    float* const data = gradient.data_ptr<float>();
    for (int64_t i = 0; i < gradient.numel(); ++i) {
      data[i] = static_cast<float>(random.Normal());
    }
    pair.gradient = {gradient};
    pair.displacement = {gradient.mul(5)};
    ASSERT_EQ(teacher->AddPair(Step(0), pair), absl::OkStatus());
    ASSERT_EQ(teacher->Fit(), absl::OkStatus());
  }
  EXPECT_NEAR(teacher->FitReport().at("constant_gain"), 5.0 / 16, 1e-3);
  EXPECT_EQ(teacher->SaveState().tensors.at("pairs")[1].size(0), 2048);
}

}  // namespace
}  // namespace fedlb
