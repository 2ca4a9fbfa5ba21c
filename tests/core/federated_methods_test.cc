// Sync policies and client algorithms whose effect shows only in whole runs:
// several rounds, clients that remember, interruptions.

#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "absl/strings/str_cat.h"
#include "client_batches.h"
#include "core/training_testing.h"
#include "fedlb/dataset.h"
#include "fedlb/experiment.h"
#include "fedlb/experiment_config.h"
#include "fedlb/model.h"
#include "fedlb/partitioner.h"
#include "fedlb/registry.h"
#include "fedlb/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedlb {
namespace {

using ::testing::HasSubstr;

// Four clients with unequal shares of a problem with 3 classes, in double.
const Settings& Base() {
  static const auto* const base = new Settings{"precision=fp64",
                                               "seed=5",
                                               "dataset.name=synthetic",
                                               "dataset.shape=[6]",
                                               "dataset.classes=3",
                                               "dataset.train_size=300",
                                               "dataset.test_size=30",
                                               "partitioner.name=quantity",
                                               "partitioner.sigma=0.6",
                                               "partitioner.min_examples=20",
                                               "federation.clients=4",
                                               "model.name=logistic",
                                               "batch_policy.batch_size=8",
                                               "optimizer.name=sgd",
                                               "optimizer.lr=0.1",
                                               "evaluation.every_rounds=1000"};
  return *base;
}

// Every step, every client and raw changes of the gradient's norm.
const Settings& SelSync() {
  static const auto* const settings =
      new Settings{"sync_policy.name=selsync", "critical_phase.scope=client",
                   "critical_phase.smoothing=none"};
  return *settings;
}

using FederatedMethodsTest = TrainingTest;

// Algorithm 1 of the SelSync paper written down with tensor operations. It has
// the model, the data and the order of the examples in common with a run.
struct SelSyncReference {
  TensorList weights;
  int64_t averages = 0;
};

SelSyncReference PlainSelSync(const Settings& sets, int64_t rounds,
                              double threshold, double lr, double momentum) {
  const ExperimentConfig config = Configure(sets);
  const auto clients = static_cast<size_t>(config.federation.clients);
  ComponentContext context;
  context.seed = static_cast<uint64_t>(config.run.seed);
  context.dtype = at::kDouble;
  context.num_clients = config.federation.clients;
  context.registry = &BuiltPlugins();
  const auto dataset =
      BuiltPlugins().Create<Dataset>(config.components.at("dataset"), context);
  EXPECT_TRUE(dataset.ok()) << dataset.status();
  context.example_shape = (*dataset)->example_shape();
  context.num_classes = (*dataset)->num_classes();
  const auto partitioner = BuiltPlugins().Create<Partitioner>(
      config.components.at("partitioner"), context);
  EXPECT_TRUE(partitioner.ok()) << partitioner.status();
  std::vector<int64_t> all;
  for (int64_t i = 0; i < (*dataset)->size(Split::kTrain); ++i) {
    all.push_back(i);
  }
  const auto partition =
      (*partitioner)
          ->Deal(all, (*dataset)->labels(Split::kTrain), context.num_classes,
                 config.federation.clients);
  EXPECT_TRUE(partition.ok()) << partition.status();
  const auto model =
      BuiltPlugins().Create<Model>(config.components.at("model"), context);
  EXPECT_TRUE(model.ok()) << model.status();

  TensorList parameters;
  for (const at::Tensor& parameter : (*model)->parameters()) {
    parameters.push_back(parameter.detach());
  }
  SelSyncReference reference;
  reference.weights = Clone(parameters);
  std::vector<TensorList> own;
  std::vector<TensorList> velocity;
  for (size_t k = 0; k < clients; ++k) {
    own.push_back(Clone(parameters));
    velocity.push_back(ZerosLike(parameters));
  }
  std::vector<ClientState> places(clients);
  std::vector<std::optional<double>> norms(clients);
  for (int64_t round = 0; round < rounds; ++round) {
    bool average = round + 1 == rounds;
    for (size_t k = 0; k < clients; ++k) {
      Copy(own[k], parameters);
      RandomKey key;
      const auto indices = ClientBatches(context.seed, static_cast<int64_t>(k),
                                         (*partition)[k], 8)
                               .Next(places[k], &key);
      const auto batch = (*dataset)->Load(Split::kTrain, indices, nullptr);
      const auto logits = (*model)->Forward(batch->inputs);
      logits->log_softmax(1)
          .gather(1, batch->targets.unsqueeze(1))
          .mean()
          .neg()
          .backward();
      double norm = 0;
      for (size_t i = 0; i < parameters.size(); ++i) {
        at::Tensor& gradient = (*model)->parameters()[i].mutable_grad();
        norm += gradient.square().sum().item<double>();
        velocity[k][i] = velocity[k][i].mul(momentum).add(gradient);
        own[k][i].sub_(velocity[k][i], lr);
        gradient = at::Tensor();
      }
      average = average || !norms[k].has_value() ||
                std::abs(norm - *norms[k]) / *norms[k] >= threshold;
      norms[k] = norm;
    }
    if (!average) {
      continue;
    }
    ++reference.averages;
    reference.weights = ZerosLike(parameters);
    for (size_t k = 0; k < clients; ++k) {
      AddScaled(own[k],
                static_cast<double>((*partition)[k].size()) /
                    static_cast<double>(all.size()),
                reference.weights);
    }
    for (TensorList& weights : own) {
      weights = Clone(reference.weights);
    }
  }
  return reference;
}

TEST_F(FederatedMethodsTest, SelSyncIsThePapersAlgorithm) {
  const Settings sets =
      Base() + SelSync() +
      Settings{"rounds=25", "sync_policy.threshold=1.2",
               "optimizer.momentum=0.9", "optimizer.keep_state=true"};
  const SelSyncReference reference = PlainSelSync(sets, 25, 1.2, 0.1, 0.9);
  // Both kinds of rounds, or the test would show nothing.
  EXPECT_GT(reference.averages, 3);
  EXPECT_LT(reference.averages, 22);
  EXPECT_LE(RelativeDifference(Train(sets).weights, reference.weights), 1e-11);
}

TEST_F(FederatedMethodsTest, SelSyncOfThresholdZeroIsFedAvgOfOneStep) {
  const Settings sets = Base() + Settings{"rounds=6"};
  const auto selsync =
      Train(sets + SelSync() + Settings{"sync_policy.threshold=0"});
  const auto fedavg = Train(
      sets + Settings{"sync_policy.name=fedavg", "sync_policy.local_steps=1"});
  EXPECT_EQ(selsync.result.weights_sha256, fedavg.result.weights_sha256);
}

// With two steps a round there is a change to vote about from the first on.
TEST_F(FederatedMethodsTest, QuietRoundsOfSelSyncAreOneLongRoundOfFedAvg) {
  const Settings sets =
      Base() + Settings{"optimizer.momentum=0.9", "optimizer.keep_state=true"};
  const auto selsync = Train(sets + SelSync() +
                             Settings{"rounds=3", "sync_policy.threshold=1e9",
                                      "sync_policy.local_steps=2"});
  const auto fedavg =
      Train(sets + Settings{"rounds=1", "sync_policy.name=fedavg",
                            "sync_policy.local_steps=6"});
  EXPECT_EQ(selsync.result.weights_sha256, fedavg.result.weights_sha256);
  EXPECT_EQ(selsync.result.steps, 24);
}

TEST_F(FederatedMethodsTest, SelSyncNeedsClientsThatWatchTheirGradients) {
  const absl::Status status =
      RefusalOf(Base() + Settings{"sync_policy.name=selsync"});
  EXPECT_EQ(FailureOf(status), Failure::kConfig);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("critical_phase.scope = \"client\""));
}

TEST_F(FederatedMethodsTest, WorkersWireAndInterruptionsChangeNoBit) {
  const Settings cohort = {"federation.clients=7", "federation.cohort_size=5",
                           "rounds=6", "partitioner.min_examples=10"};
  const Settings local = {"sync_policy.name=fedavg",
                          "sync_policy.local_epochs=1"};
  const std::vector<Settings> methods = {
      SelSync() + Settings{"sync_policy.threshold=1.5"},
      local + Settings{"client_algorithm.name=scaffold"},
      local + Settings{"client_algorithm.name=feddyn"},
      local + Settings{"aggregator.name=fednova"},
      {"sync_policy.name=post_local", "sync_policy.switch_at=3",
       "sync_policy.local_steps=3", "optimizer.momentum=0.9"},
      local + Settings{"sampler.name=availability", "sampler.period=4"},
      local + Settings{"sampler.name=weighted"}};
  for (const Settings& method : methods) {
    const Settings sets = Base() + cohort + method;
    const std::string expected =
        Train(sets + Settings{"transport.workers=1"}).result.weights_sha256;
    EXPECT_EQ(
        Train(sets + Settings{"transport.workers=3", "transport.wire=true"})
            .result.weights_sha256,
        expected)
        << method.back() << " over the wire";
    EXPECT_EQ(TrainInterrupted(sets + Settings{"transport.workers=2"}, 4)
                  .result.weights_sha256,
              expected)
        << method.back() << " resumed";
  }
}

// Clients' updates weigh the same under scaffold, whatever they hold.
TEST_F(FederatedMethodsTest, ScaffoldOfOneStepOfEverybodyIsFedAvg) {
  const Settings sets =
      Base() + Settings{"rounds=10", "sync_policy.name=fedavg",
                        "sync_policy.local_steps=1"};
  const auto scaffold =
      Train(sets + Settings{"client_algorithm.name=scaffold"});
  const auto fedavg = Train(sets + Settings{"aggregator.weighting=uniform"});
  EXPECT_LE(RelativeDifference(scaffold.weights, fedavg.weights), 1e-12);
  const auto by_examples = Train(sets);
  EXPECT_GT(RelativeDifference(by_examples.weights, fedavg.weights), 1e-4);
}

// Client 2, which goes too far in rounds 0 and 1, comes in round 2 as if it had
// not been asked before: otherwise its control variate would have moved without
// the server's.
TEST_F(FederatedMethodsTest, AClientThatIsDroppedRemembersNothing) {
  const Settings sets = Base() + Settings{"rounds=4", "sync_policy.name=fedavg",
                                          "client_algorithm.name=scaffold",
                                          "lr_schedule.name=cosine"};
  const auto dropped = Train(sets + Settings{"update_gate.max_norm=0.75"});
  const auto late =
      Train(sets + Settings{"sampler.name=availability",
                            "sampler.available=[\"0-1, 3: 0-\", \"2: 2-\"]"});
  EXPECT_EQ(dropped.result.dropped_updates, 2);
  EXPECT_EQ(dropped.result.weights_sha256, late.result.weights_sha256);
}

TEST_F(FederatedMethodsTest, FedNovaOfEqualStepsIsTheMean) {
  const Settings sets = Base() + Settings{"rounds=5", "sync_policy.name=fedavg",
                                          "sync_policy.local_steps=4"};
  const auto fednova = Train(sets + Settings{"aggregator.name=fednova"});
  EXPECT_LE(RelativeDifference(fednova.weights, Train(sets).weights), 1e-12);
}

TEST_F(FederatedMethodsTest, MethodsForLocalStepsRefuseBspInPlanAndTraining) {
  for (const char* name : {"scaffold", "feddyn"}) {
    for (const char* policy : {"bsp", "post_local"}) {
      const absl::Status status = RefusalOf(
          Base() + Settings{absl::StrCat("client_algorithm.name=", name),
                            absl::StrCat("sync_policy.name=", policy)});
      EXPECT_EQ(FailureOf(status), Failure::kConfig);
      EXPECT_THAT(std::string(status.message()),
                  HasSubstr("set sync_policy.name = \"fedavg\""));
    }
  }
}

TEST_F(FederatedMethodsTest, PlansOfTheMethodsAreMade) {
  for (const Settings& method :
       std::vector<Settings>{SelSync(),
                             {"client_algorithm.name=scaffold"},
                             {"client_algorithm.name=feddyn"},
                             {"sync_policy.name=post_local"}}) {
    auto experiment = Experiment::Create(Configure(Base() + method), BuiltPlugins(),
                                         Logger::Null());
    ASSERT_TRUE(experiment.ok()) << experiment.status();
    const auto plan = (*experiment)->Plan(nullptr);
    EXPECT_TRUE(plan.ok()) << method[0] << ": " << plan.status();
  }
}

// Whole shares as batches: where a client stands in its data does not matter.
TEST_F(FederatedMethodsTest, PostLocalIsBspAndThenFedAvgWithoutMomentum) {
  const Settings sets = Base() + Settings{"batch_policy.batch_size=1000",
                                          "optimizer.momentum=0.9"};
  const auto both = Train(
      sets + Settings{"rounds=5", "sync_policy.name=post_local",
                      "sync_policy.switch_at=4", "sync_policy.local_steps=3"});
  const auto bsp = Train(sets + Settings{"rounds=4", "sync_policy.name=bsp"});
  const auto fedavg =
      Train(sets + Settings{"rounds=1", "sync_policy.name=fedavg",
                            "sync_policy.local_steps=3",
                            absl::StrCat("model.init=", bsp.result.run_dir,
                                         "/weights.safetensors")});
  EXPECT_LE(RelativeDifference(both.weights, fedavg.weights), 1e-12);
  EXPECT_GT(RelativeDifference(both.weights, bsp.weights), 1e-3);
}

}  // namespace
}  // namespace fedlb
