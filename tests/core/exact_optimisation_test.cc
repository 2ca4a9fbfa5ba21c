// A federated run that is mathematically plain SGD must be plain SGD. The
// reference below is a loop over batches written out with tensor operations; it
// shares the model, the data and the order of the examples with the run, and
// nothing else.

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>

#include "absl/strings/str_cat.h"
#include "client_batches.h"
#include "core/training_testing.h"
#include "fedlb/config.h"
#include "fedlb/dataset.h"
#include "fedlb/experiment.h"
#include "fedlb/experiment_config.h"
#include "fedlb/model.h"
#include "fedlb/partitioner.h"
#include "fedlb/registry.h"
#include "gtest/gtest.h"

namespace fedlb {
namespace {

// A small convolutional problem; the tests change what they are about.
const Settings& Base() {
  static const auto* const base = new Settings{"rounds=50",
                                               "seed=3",
                                               "dataset.name=synthetic",
                                               "dataset.shape=[1, 12, 12]",
                                               "dataset.train_size=400",
                                               "dataset.test_size=20",
                                               "partitioner.name=iid",
                                               "model.name=cnn",
                                               "optimizer.name=sgd",
                                               "optimizer.lr=0.05",
                                               "optimizer.momentum=0.9",
                                               "optimizer.weight_decay=0.001",
                                               "execution.intra_op_threads=1",
                                               "evaluation.every_rounds=1000",
                                               "checkpoint.every_rounds=1000"};
  return *base;
}

class ExactOptimisationTest : public TrainingTest {
 protected:
  static ExperimentConfig Configure(const Settings& sets) {
    return fedlb::Configure(Base() + sets);
  }

  Outcome Train(const Settings& sets) {
    return TrainingTest::Train(Base() + sets);
  }

  // `steps` steps of SGD as torch.optim.SGD defines it (v = m v + g + wd w,
  // w = w - lr v); the batch of a step is the union of the clients' next
  // batches.
  static TensorList PlainSgd(const std::vector<std::string>& sets,
                             int64_t clients, int64_t batch_size,
                             int64_t steps, double lr, double momentum,
                             double weight_decay) {
    const ExperimentConfig config = Configure(sets);
    ComponentContext context;
    context.seed = static_cast<uint64_t>(config.run.seed);
    context.dtype = config.run.precision == "fp64" ? at::kDouble : at::kFloat;
    context.num_clients = clients;
    context.registry = &BuiltPlugins();
    const auto dataset =
        BuiltPlugins().Create<Dataset>(config.components.at("dataset"), context);
    EXPECT_TRUE(dataset.ok()) << dataset.status();
    context.example_shape = (*dataset)->example_shape();
    context.num_classes = (*dataset)->num_classes();
    const auto partitioner = BuiltPlugins().Create<Partitioner>(
        config.components.at("partitioner"), context);
    std::vector<int64_t> all;
    for (int64_t i = 0; i < (*dataset)->size(Split::kTrain); ++i) {
      all.push_back(i);
    }
    const auto partition =
        (*partitioner)
            ->Deal(all, (*dataset)->labels(Split::kTrain), context.num_classes,
                   clients);
    EXPECT_TRUE(partition.ok()) << partition.status();
    const auto model =
        BuiltPlugins().Create<Model>(config.components.at("model"), context);
    EXPECT_TRUE(model.ok()) << model.status();

    std::vector<ClientState> states(static_cast<size_t>(clients));
    TensorList velocity = ZerosLike((*model)->parameters());
    for (int64_t step = 0; step < steps; ++step) {
      std::vector<int64_t> batch;
      for (int64_t client = 0; client < clients; ++client) {
        const auto index = static_cast<size_t>(client);
        RandomKey key;
        const auto part = ClientBatches(context.seed, client,
                                        (*partition)[index], batch_size)
                              .Next(states[index], &key);
        batch.insert(batch.end(), part.begin(), part.end());
      }
      const auto examples = (*dataset)->Load(Split::kTrain, batch, nullptr);
      const auto logits = (*model)->Forward(examples->inputs);
      // Cross entropy from its definition.
      const at::Tensor loss =
          logits->log_softmax(1)
              .gather(1, examples->targets.unsqueeze(1))
              .mean()
              .neg();
      loss.backward();
      for (size_t i = 0; i < velocity.size(); ++i) {
        at::Tensor weight = (*model)->parameters()[i].detach();
        at::Tensor& gradient = (*model)->parameters()[i].mutable_grad();
        velocity[i] =
            velocity[i].mul(momentum).add(gradient).add(weight, weight_decay);
        weight.sub_(velocity[i], lr);
        gradient = at::Tensor();
      }
    }
    return Clone((*model)->parameters());
  }
};

struct Case {
  std::string precision;
  int64_t rounds;
  double tolerance;
};

class ExactlySgdTest : public ExactOptimisationTest,
                       public testing::WithParamInterface<Case> {
 protected:
  std::vector<std::string> With(std::vector<std::string> sets) const {
    sets.push_back(absl::StrCat("precision=", GetParam().precision));
    sets.push_back(absl::StrCat("rounds=", GetParam().rounds));
    return sets;
  }
};

TEST_P(ExactlySgdTest, BspOfNClientsIsSgdWithNTimesTheBatch) {
  // 100 examples per client and a batch of 15: the last batch of a pass is
  // smaller, so that weighting by examples matters.
  const auto sets = With({"sync_policy.name=bsp", "federation.clients=4",
                          "batch_policy.batch_size=15"});
  const TensorList expected =
      PlainSgd(sets, 4, 15, GetParam().rounds, 0.05, 0.9, 0.001);
  const Outcome outcome = Train(sets);
  EXPECT_EQ(outcome.result.steps, GetParam().rounds);
  EXPECT_LE(RelativeDifference(outcome.weights, expected),
            GetParam().tolerance);
}

TEST_P(ExactlySgdTest, MicroBatchesAddUpToTheBatch) {
  // 32 = 12 + 12 + 8.
  const auto sets = With({"sync_policy.name=bsp", "federation.clients=1",
                          "batch_policy.batch_size=32",
                          "batch_policy.micro_batch_size=12"});
  const TensorList expected =
      PlainSgd(sets, 1, 32, GetParam().rounds, 0.05, 0.9, 0.001);
  EXPECT_LE(RelativeDifference(Train(sets).weights, expected),
            GetParam().tolerance);
}

TEST_P(ExactlySgdTest, FedAvgOfOneClientAndOneStepIsSgd) {
  const auto sets =
      With({"sync_policy.name=fedavg", "sync_policy.local_steps=1",
            "federation.clients=1", "batch_policy.batch_size=32",
            "optimizer.keep_state=true"});
  const TensorList expected =
      PlainSgd(sets, 1, 32, GetParam().rounds, 0.05, 0.9, 0.001);
  EXPECT_LE(RelativeDifference(Train(sets).weights, expected),
            GetParam().tolerance);
}

INSTANTIATE_TEST_SUITE_P(
    Precisions, ExactlySgdTest,
    testing::Values(Case{"fp32", 1, 1e-6}, Case{"fp32", 50, 1e-4},
                    Case{"fp64", 1, 1e-10}, Case{"fp64", 50, 1e-10}),
    [](const auto& info) {
      return absl::StrCat(info.param.precision, "_", info.param.rounds);
    });

TEST_F(ExactOptimisationTest, ManyLocalStepsOfOneClientAreSgdToo) {
  const std::vector<std::string> sets = {
      "sync_policy.name=fedavg", "sync_policy.local_steps=10",
      "federation.clients=1",    "batch_policy.batch_size=32",
      "rounds=3",                "optimizer.keep_state=true",
      "precision=fp64"};
  const TensorList expected = PlainSgd(sets, 1, 32, 30, 0.05, 0.9, 0.001);
  const Outcome outcome = Train(sets);
  EXPECT_EQ(outcome.result.steps, 30);
  EXPECT_EQ(outcome.result.rounds, 3);
  EXPECT_LE(RelativeDifference(outcome.weights, expected), 1e-10);
}

TEST_F(ExactOptimisationTest, WorkersAndWireChangeNoBit) {
  for (const char* policy : {"bsp", "fedavg"}) {
    const std::vector<std::string> base = {
        absl::StrCat("sync_policy.name=", policy), "federation.clients=7",
        "federation.cohort_size=5",  "batch_policy.batch_size=16",
        "rounds=4",                  "partitioner.name=dirichlet",
        "partitioner.alpha=0.5",     "partitioner.min_examples=2",
        "gradient_mapper.name=step", "gradient_mapper.scope=client",
        "critical_phase.smoothing=none"};
    const auto with = [&base](std::vector<std::string> extra) {
      extra.insert(extra.begin(), base.begin(), base.end());
      return extra;
    };
    const std::string expected =
        Train(with({"transport.workers=1"})).result.weights_sha256;
    for (const int workers : {2, 3, 4}) {
      EXPECT_EQ(Train(with({absl::StrCat("transport.workers=", workers)}))
                    .result.weights_sha256,
                expected)
          << policy << " with " << workers << " workers";
    }
    EXPECT_EQ(Train(with({"transport.workers=2", "transport.wire=true"}))
                  .result.weights_sha256,
              expected)
        << policy << " over the wire";
  }
}

TEST_F(ExactOptimisationTest, StepWithGainOneIsTheIdentityBitForBit) {
  for (const char* scope : {"server", "client"}) {
    const std::vector<std::string> base = {
        "federation.clients=3", "rounds=3", "batch_policy.batch_size=32",
        absl::StrCat("gradient_mapper.scope=", scope)};
    auto identity = base;
    identity.push_back("gradient_mapper.name=identity");
    auto step = base;
    step.insert(step.end(),
                {"gradient_mapper.name=step", "gradient_mapper.gain=1.0",
                 "gradient_mapper.scale_phase=always"});
    EXPECT_EQ(Train(step).result.weights_sha256,
              Train(identity).result.weights_sha256);
  }
}

// lr (4 g + wd w) = 4 lr (g + wd / 4 w): the mapper acts before weight decay.
TEST_F(ExactOptimisationTest, ConstantGainIsAFactorOnTheLearningRate) {
  const std::vector<std::string> base = {
      "sync_policy.name=bsp", "federation.clients=2", "rounds=30",
      "batch_policy.batch_size=32", "precision=fp64",
      "optimizer.momentum=0.5"};
  auto gain = base;
  gain.insert(gain.end(),
              {"gradient_mapper.name=step", "gradient_mapper.gain=4.0",
               "gradient_mapper.scale_phase=always", "optimizer.lr=0.01",
               "optimizer.weight_decay=0.004"});
  auto rate = base;
  rate.insert(rate.end(),
              {"optimizer.lr=0.04", "optimizer.weight_decay=0.001"});
  const Outcome outcome = Train(gain);
  EXPECT_LE(RelativeDifference(outcome.weights, Train(rate).weights), 1e-12);
  EXPECT_EQ(outcome.result.mapper.at("scaled_share"), 1);
  EXPECT_EQ(outcome.result.mapper.at("mean_gain"), 4);
}

TEST_F(ExactOptimisationTest, SavedConfigGivesTheSameRun) {
  const Outcome first = Train({"federation.clients=3", "rounds=2",
                               "gradient_mapper.name=step"});
  const auto table = LoadConfig(
      {.files = {absl::StrCat(first.result.run_dir, "/config.toml")},
       .environment = false});
  ASSERT_TRUE(table.ok()) << table.status();
  const auto config = ResolveExperiment(*table, BuiltPlugins());
  ASSERT_TRUE(config.ok()) << config.status();
  auto experiment = Experiment::Create(*config, BuiltPlugins(), Logger::Null());
  ASSERT_TRUE(experiment.ok()) << experiment.status();
  TrainOptions options;
  options.run_dir = NewFolder();
  const auto again = (*experiment)->Train(options);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->weights_sha256, first.result.weights_sha256);
}

}  // namespace
}  // namespace fedlb
