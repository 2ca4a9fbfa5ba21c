#include "teacher_mapper.h"

#include <filesystem>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/full.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "core/training_testing.h"
#include "fedlb/plugin.h"
#include "fedlb/registry.h"
#include "fedlb/status.h"
#include "plugins/make_component.h"
#include "plugins/recording_logger.h"

namespace fedlb {
namespace {

using teacher::TeacherMapper;
using ::testing::HasSubstr;
using ::testing::SizeIs;

// A teacher that multiplies by a factor.
struct FactorOptions {
  double factor = 2;
};

class Factor final : public Teacher {
 public:
  using Options = FactorOptions;
  static constexpr char kName[] = "factor";
  static constexpr char kSummary[] = "Multiplies by a factor.";

  static ParamSchema<Options> Schema() {
    return ParamSchema<Options>().Add("factor", &Options::factor, "Factor.");
  }
  static absl::StatusOr<std::unique_ptr<Factor>> Create(
      const Options& options, const ComponentContext& /*context*/) {
    return std::unique_ptr<Factor>(new Factor(options));
  }

  absl::Status Prepare(const TensorLayout& /*layout*/) override {
    return absl::OkStatus();
  }
  ScalarMap Report() const override {
    return {{"norm_ratio", options_.factor}, {"steps", small_steps_}};
  }
  int64_t StateBytes(const TensorLayout& layout) const override {
    return 7 * NumBytes(layout);
  }

 private:
  explicit Factor(const Options& options) : options_(options) {}

  absl::Status DoMap(const TeacherStep& step, TensorList& gradient) override {
    small_steps_ = step.small_steps;
    Scale(options_.factor, gradient);
    return absl::OkStatus();
  }
  absl::Status DoObserve(const TeacherStep& /*step*/) override {
    return absl::OkStatus();
  }

  const Options options_;
  double small_steps_ = 0;
};

class TeacherMapperTest : public ::testing::Test {
 protected:
  TeacherMapperTest() {
    PluginRegistrar registrar;
    registrar.Add<Factor>();
    EXPECT_EQ(registry_.Add({.name = "test"}, std::move(registrar.entries())),
              absl::OkStatus());
    context_.registry = &registry_;
    context_.logger = &logger_;
  }

  std::unique_ptr<TeacherMapper> MakeWithFactor(double factor) {
    return Make<TeacherMapper>(
        absl::StrCat("teacher = { name = 'factor', factor = ", factor, " }"),
        context_);
  }

  ComponentRegistry registry_;
  RecordingLogger logger_;
  ComponentContext context_;
};

StepContext BatchOf(int64_t batch_size) {
  StepContext context;
  context.batch_size = batch_size;
  return context;
}

TEST_F(TeacherMapperTest, HasItsTeacherMap) {
  const auto mapper = MakeWithFactor(3);
  TensorList gradient = {at::full({2}, 5.0)};
  ASSERT_EQ(mapper->Map(BatchOf(1024), gradient), absl::OkStatus());
  EXPECT_EQ(gradient[0][1].item<double>(), 15);
  EXPECT_EQ(mapper->Report().at("norm_ratio"), 3);
  EXPECT_EQ(mapper->Report().at("fallback"), 0);
  EXPECT_EQ(mapper->StateBytes({{"w", {2}, at::kFloat}}), 7 * 8);
}

TEST_F(TeacherMapperTest, OneStepStandsForBatchOverSmallBatch) {
  const auto mapper = MakeWithFactor(1);
  for (const auto& [batch, steps] :
       {std::pair<int64_t, double>{1024, 16}, {96, 1.5}, {32, 1}}) {
    TensorList gradient = {at::full({2}, 5.0)};
    ASSERT_EQ(mapper->Map(BatchOf(batch), gradient), absl::OkStatus());
    EXPECT_EQ(mapper->Report().at("steps"), steps) << batch;
  }
}

TEST_F(TeacherMapperTest, GradientsStayWhereTheAnswerIsUseless) {
  // The last one is beyond the largest float.
  for (const double factor : {2000.0, 1e-4, 0.0, 1e39}) {
    logger_.warnings.clear();
    const auto mapper = MakeWithFactor(factor);
    for (int step = 0; step < 3; ++step) {
      TensorList gradient = {at::full({2}, 5.0)};
      ASSERT_EQ(mapper->Map(BatchOf(64), gradient), absl::OkStatus());
      EXPECT_EQ(gradient[0][1].item<double>(), 5) << factor;
      EXPECT_EQ(mapper->Report().at("fallback"), 1);
      EXPECT_EQ(mapper->Report().at("norm_ratio"), 1);
    }
    EXPECT_THAT(logger_.warnings, SizeIs(1));
  }
}

TEST_F(TeacherMapperTest, OptimizersThatUndoTheMappingAreRefused) {
  const auto mapper = MakeWithFactor(1);
  EXPECT_EQ(mapper->CheckOptimizer({}, logger_), absl::OkStatus());
  const absl::Status adam =
      mapper->CheckOptimizer({.scale_invariant = true}, logger_);
  EXPECT_EQ(FailureOf(adam), Failure::kConfig);
  EXPECT_THAT(std::string(adam.message()), HasSubstr("coordinates = \"adam\""));
  EXPECT_EQ(FailureOf(mapper->CheckOptimizer({.clips = true}, logger_)),
            Failure::kConfig);
}

TEST_F(TeacherMapperTest, AnUnknownTeacherIsRefused) {
  const absl::Status status =
      TryMake<TeacherMapper>("teacher = { name = 'facto' }", context_).status();
  EXPECT_EQ(FailureOf(status), Failure::kConfig);
  EXPECT_THAT(std::string(status.message()), HasSubstr("factor"));
}

// Four clients, in double.
const Settings& Base() {
  static const auto* const base =
      new Settings{"precision=fp64",
                   "seed=5",
                   "rounds=9",
                   "dataset.name=synthetic",
                   "dataset.shape=[6]",
                   "dataset.classes=3",
                   "dataset.train_size=300",
                   "dataset.test_size=30",
                   "federation.clients=4",
                   "model.name=logistic",
                   "batch_policy.batch_size=16",
                   "optimizer.lr=0.1",
                   "evaluation.every_rounds=1000",
                   "gradient_mapper.name=teacher",
                   "gradient_mapper.small_batch_size=4",
                   "gradient_mapper.teacher.rank=6"};
  return *base;
}

// Clients with unequal shares and single optimizer steps.
const Settings& Unequal() {
  static const auto* const settings =
      new Settings{"partitioner.name=quantity", "partitioner.min_examples=20",
                   "sync_policy.name=bsp"};
  return *settings;
}

class TeacherRunTest : public TrainingTest {
 protected:
  // The same bits with any number of workers, over the wire and after an
  // interruption.
  void ExpectReproducible(const Settings& sets) {
    const Outcome outcome = Train(sets);
    EXPECT_EQ(outcome.result.mapper.at("mean_fallback"), 0);
    EXPECT_NE(outcome.result.mapper.at("mean_norm_ratio"), 1);
    for (const Settings& variant :
         {Settings{"transport.workers=3"},
          Settings{"transport.workers=2", "transport.wire=true"}}) {
      EXPECT_EQ(Train(sets + variant).result.weights_sha256,
                outcome.result.weights_sha256)
          << variant.back();
    }
    for (const int64_t round : {1, 5, 7}) {
      EXPECT_EQ(TrainInterrupted(sets, round).result.weights_sha256,
                outcome.result.weights_sha256)
          << round;
    }
  }
};

TEST_F(TeacherRunTest, ServerScopeIsReproducible) {
  ExpectReproducible(Base() + Unequal());
}

TEST_F(TeacherRunTest, AdamsCoordinatesAreReproducible) {
  ExpectReproducible(Base() + Unequal() +
                     Settings{"optimizer.lr=0.003",
                              "gradient_mapper.teacher.coordinates=adam",
                              "gradient_mapper.teacher.basis=layer"});
}

TEST_F(TeacherRunTest, ClientScopeIsReproducible) {
  ExpectReproducible(Base() + Settings{"sync_policy.name=fedavg",
                                       "sync_policy.local_steps=3",
                                       "gradient_mapper.scope=client",
                                       "batch_policy.micro_batch_size=4"});
}

// Every round has a batch of 4 x 16, 16 small ones.
const Settings& WithPairs() {
  static const auto* const settings = new Settings{
      "sync_policy.name=bsp", "partitioner.name=iid", "dataset.train_size=256",
      "gradient_mapper.refit=every", "gradient_mapper.reorder=true"};
  return *settings;
}

TEST_F(TeacherRunTest, FittedGatesAreReproducible) {
  ExpectReproducible(Base() + WithPairs());
}

// The same with another teacher.
Settings BaseWith(const std::string& teacher) {
  Settings sets;
  for (const std::string& set : Base()) {
    if (set.rfind("gradient_mapper.teacher", 0) != 0) {
      sets.push_back(set);
    }
  }
  return sets + WithPairs() +
         Settings{absl::StrCat("gradient_mapper.teacher.name=", teacher)};
}

TEST_F(TeacherRunTest, NetworksAreReproducible) {
  for (const char* name : {"transformer", "autoencoder"}) {
    SCOPED_TRACE(name);
    ExpectReproducible(BaseWith(name));
  }
}

TEST_F(TeacherRunTest, GradientTargetsAreReproducible) {
  ExpectReproducible(BaseWith("transformer") +
                     Settings{"gradient_mapper.target=gradient"});
}

TEST_F(TeacherRunTest, NoiseIsReproducible) {
  const Settings sets =
      BaseWith("transformer") + Settings{"gradient_mapper.target=noise"};
  ExpectReproducible(sets);
  // From the first pair on, the small batch's noise is longer than its mean.
  EXPECT_GT(Train(sets).result.mapper.at("mean_noise"), 0.5);
}

TEST_F(TeacherRunTest, ASmallBatchsGradientIsATarget) {
  const ScalarMap mapper =
      Train(BaseWith("transformer") +
            Settings{"rounds=31", "gradient_mapper.target=gradient"})
          .result.mapper;
  EXPECT_EQ(mapper.at("heldout.pairs"), 8);
  // Its expectation is the large batch's gradient. The gain that fits best is
  // below 1 because long small-batch gradients count for less.
  EXPECT_GT(mapper.at("fit.constant_gain"), 0.3);
  EXPECT_LT(mapper.at("fit.constant_gain"), 1.1);
  EXPECT_FALSE(mapper.contains("heldout.ceiling_cosine"));
}

TEST_F(TeacherRunTest, RecordedPairsMakeTheSameTeacher) {
  const std::string pairs = NewFolder();
  const Settings record = {absl::StrCat("gradient_mapper.record=", pairs),
                           "rounds=31"};
  const Settings replay = {absl::StrCat("gradient_mapper.pairs=", pairs),
                           "gradient_mapper.refit=never", "rounds=1"};
  const ScalarMap recorded =
      Train(BaseWith("transformer") + record).result.mapper;
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(pairs), {}), 11);
  const ScalarMap replayed =
      Train(BaseWith("transformer") + replay).result.mapper;
  for (const auto& [name, value] : recorded) {
    if ((name.rfind("heldout.", 0) == 0 || name.rfind("fit.", 0) == 0) &&
        name != "fit.seconds") {
      EXPECT_EQ(replayed.at(name), value) << name;
    }
  }
  const auto other_target =
      Experiment::Create(Configure(BaseWith("transformer") + replay +
                                   Settings{"gradient_mapper.target=gradient"}),
                         BuiltPlugins(), Logger::Null());
  ASSERT_EQ(other_target.status(), absl::OkStatus());
  EXPECT_EQ(FailureOf((*other_target)->FitMapper().status()),
            Failure::kInputFile);
  // A run that goes on does not learn from them again.
  ExpectReproducible(BaseWith("transformer") + replay + Settings{"rounds=8"});
  // Another teacher learns from the groups of gradients that are kept, too.
  EXPECT_GT(
      Train(Base() + WithPairs() + replay).result.mapper.at("heldout.pairs"),
      4);
}

TEST_F(TeacherRunTest, PairsAreScoredBeforeTheyAreLearntFrom) {
  const Outcome outcome = Train(Base() + WithPairs() + Settings{"rounds=31"});
  const ScalarMap& mapper = outcome.result.mapper;
  // Pairs of rounds 1, 3, ..., 19 and 30; the first fit is after the third.
  EXPECT_EQ(mapper.at("heldout.pairs"), 8);
  EXPECT_GT(mapper.at("heldout.cosine"), 0);
  EXPECT_LE(mapper.at("heldout.r2_oracle_gain"), 1);
  EXPECT_GE(mapper.at("heldout.r2_oracle_gain"),
            mapper.at("heldout.r2_identity"));
  EXPECT_GT(mapper.at("fit.bulk_gain"), 0);
}

TEST_F(TeacherRunTest, WithoutEffectTheTeacherChangesNoBit) {
  const Settings idle = {"sync_policy.name=bsp",
                         "gradient_mapper.teacher.rank=0",
                         "gradient_mapper.teacher.bulk_gain=1",
                         "gradient_mapper.teacher.clip_norm=0"};
  Settings plain;
  for (const std::string& set : Base()) {
    if (set.rfind("gradient_mapper", 0) != 0) {
      plain.push_back(set);
    }
  }
  EXPECT_EQ(
      Train(Base() + idle).result.weights_sha256,
      Train(plain + Settings{"sync_policy.name=bsp"}).result.weights_sha256);
}

}  // namespace
}  // namespace fedlb
