// SCAFFOLD and FedDyn on the quadratic problem that golden/methods.py states,
// driven as LocalClientWorker and RoundLoop drive them: with the optimizer sgd,
// the aggregator mean, and the sink between the two halves.

#include <cmath>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "aggregation/mean.h"
#include "algorithms/feddyn.h"
#include "algorithms/none.h"
#include "algorithms/scaffold.h"
#include "compression/none.h"
#include "fedlb/client_algorithm.h"
#include "fedlb/round_task.h"
#include "fedlb/status.h"
#include "fedlb/tensor_list.h"
#include "fedlb/update_sink.h"
#include "optim/sgd.h"
#include "plugins/golden/methods_golden.h"
#include "plugins/make_component.h"

namespace fedlb {
namespace {

using aggregation::Mean;
using algorithms::FedDyn;
using algorithms::None;
using algorithms::Scaffold;
using ::testing::HasSubstr;

constexpr int64_t kClients = 4;
constexpr int64_t kWeights = 5;
const std::vector<std::vector<int64_t>>& Cohorts() {
  static const auto* const cohorts = new std::vector<std::vector<int64_t>>{
      {0, 1, 2, 3}, {1, 3}, {0, 2, 3}, {0, 1}, {2}, {0, 1, 2, 3}};
  return *cohorts;
}

double Curvature(int64_t client, int64_t j) {
  return 1 + 0.5 * std::sin(static_cast<double>(client + 2 * j));
}
double Centre(int64_t client, int64_t j) {
  return std::cos(static_cast<double>(3 * client + j));
}

// Two tensors, one of them with two dimensions.
TensorList Unflatten(const std::vector<double>& values) {
  const at::Tensor flat = ToTensor(values);
  return {flat.narrow(0, 0, 3).clone(),
          flat.narrow(0, 3, 2).reshape({1, 2}).clone()};
}

std::vector<double> Flatten(const TensorList& tensors) {
  return ToVector(
      at::cat({tensors[0].reshape({-1}), tensors[1].reshape({-1})}));
}

const TensorLayout& Layout() {
  static const auto* const layout = new TensorLayout{
      {"first", {3}, at::kDouble}, {"second", {1, 2}, at::kDouble}};
  return *layout;
}

TensorList GradientOf(int64_t client, const TensorList& weights) {
  std::vector<double> gradient = Flatten(weights);
  for (int64_t j = 0; j < kWeights; ++j) {
    double& value = gradient[static_cast<size_t>(j)];
    value = Curvature(client, j) * (value - Centre(client, j));
  }
  return Unflatten(gradient);
}

RoundTask MakeTask(const TensorList& weights, double lr) {
  RoundTask task;
  task.work = {.kind = RoundWork::Kind::kLocalSteps, .local_steps = 1};
  task.lr = lr;
  task.weights = Clone(weights);
  return task;
}

// The federation between two rounds.
class Quadratics {
 public:
  Quadratics(std::unique_ptr<ClientAlgorithm> algorithm, double momentum = 0,
             double server_lr = 1, const std::string& aggregator = "")
      : algorithm_(std::move(algorithm)),
        aggregator_(Make<Mean>(aggregator)),
        optimizer_(
            Make<optim::Sgd>(absl::StrCat("lr = 1.0\nmomentum = ", momentum))),
        server_lr_(server_lr),
        states_(kClients) {
    std::vector<double> start;
    for (int64_t j = 0; j < kWeights; ++j) {
      start.push_back(std::sin(static_cast<double>(j + 1)));
    }
    weights_ = Unflatten(start);
  }

  using StepsOf = std::function<int64_t(int64_t client)>;

  void RunRound(int64_t round, const std::vector<int64_t>& cohort, double lr,
                const StepsOf& steps_of) {
    RoundTask task = MakeTask(weights_, lr);
    task.round = round;
    ASSERT_EQ(algorithm_->PrepareTask(task), absl::OkStatus());
    UpdateSink sink(task, cohort, Layout(), {}, {}, /*window=*/1, *compressor_,
                    *aggregator_, {});
    for (size_t slot = 0; slot < cohort.size(); ++slot) {
      ASSERT_TRUE(sink.Admit(static_cast<int64_t>(slot)));
      sink.Deliver(static_cast<int64_t>(slot),
                   RunClient(task, cohort[slot], steps_of(cohort[slot])));
    }
    auto result = sink.Finish();
    ASSERT_EQ(result.status(), absl::OkStatus());
    ASSERT_TRUE(result->dropped.empty()) << result->dropped[0].second;
    ASSERT_EQ(algorithm_->FinishRound({.round = round,
                                       .num_clients = kClients,
                                       .num_survivors = result->num_survivors,
                                       .group_means = &result->extra_means},
                                      result->aggregate),
              absl::OkStatus());
    AddScaled(result->aggregate, server_lr_, weights_);
  }

  // Rounds [begin, end) of golden/methods.py.
  void RunGolden(int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      RunRound(t, Cohorts()[static_cast<size_t>(t)],
               0.1 / (1 + 0.2 * static_cast<double>(t)),
               [t](int64_t client) { return 1 + (client + t) % 4; });
    }
  }

  std::vector<double> weights() const { return Flatten(weights_); }
  std::vector<double> server(const std::string& name) const {
    return Flatten(algorithm_->SaveState().tensors.at(name));
  }
  std::vector<double> client(int64_t client, const std::string& name) const {
    return Flatten(states_[static_cast<size_t>(client)]
                       .parts.at("client_algorithm")
                       .tensors.at(name));
  }

  // Everything but the algorithm, which goes on as `other`.
  void GoOnWith(std::unique_ptr<ClientAlgorithm> other) {
    algorithm_ = std::move(other);
  }
  const ClientAlgorithm& algorithm() const { return *algorithm_; }
  std::vector<ClientState>& states() { return states_; }

 private:
  Update RunClient(const RoundTask& task, int64_t client, int64_t num_steps) {
    ClientState& state = states_[static_cast<size_t>(client)];
    TensorList local = Clone(task.weights);
    optimizer_->Reset();
    for (int64_t step = 0; step < num_steps; ++step) {
      TensorList gradient = GradientOf(client, local);
      EXPECT_EQ(algorithm_->AdjustGradient(task, state, local, gradient),
                absl::OkStatus());
      EXPECT_EQ(optimizer_->Step(gradient, task.lr, local), absl::OkStatus());
    }
    Update update;
    update.kind = Update::Kind::kDelta;
    update.round = task.round;
    update.client = client;
    update.num_examples = 10 * (client + 1);
    update.local_steps = num_steps;
    update.groups[kParametersGroup] = Clone(local);
    AddScaled(task.weights, -1, update.parameters());
    EXPECT_EQ(algorithm_->AddToUpdate(task, local, update, state),
              absl::OkStatus());
    return update;
  }

  std::unique_ptr<ClientAlgorithm> algorithm_;
  std::unique_ptr<Mean> aggregator_;
  std::unique_ptr<compression::None> compressor_ = Make<compression::None>("");
  std::unique_ptr<optim::Sgd> optimizer_;
  const double server_lr_;
  TensorList weights_;
  std::vector<ClientState> states_;
};

std::unique_ptr<ClientAlgorithm> MakeAlgorithm(const MethodGolden& golden) {
  if (std::string(golden.name) == Scaffold::kName) {
    return Make<Scaffold>(absl::StrCat("momentum = ", golden.momentum));
  }
  return Make<FedDyn>(absl::StrCat("alpha = ", golden.alpha));
}

void ExpectNear(const std::vector<double>& values,
                const std::vector<double>& expected, double tolerance) {
  ASSERT_EQ(values.size(), expected.size());
  for (size_t i = 0; i < values.size(); ++i) {
    EXPECT_NEAR(values[i], expected[i], tolerance) << "element " << i;
  }
}

double Distance(const std::vector<double>& a, const std::vector<double>& b) {
  double squares = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    squares += (a[i] - b[i]) * (a[i] - b[i]);
  }
  return std::sqrt(squares);
}

class MethodsGoldenTest : public testing::TestWithParam<MethodGolden> {};

TEST_P(MethodsGoldenTest, FollowsThePaperThroughSixRounds) {
  const MethodGolden& golden = GetParam();
  const bool scaffold = std::string(golden.name) == Scaffold::kName;
  Quadratics run(MakeAlgorithm(golden), golden.momentum, golden.server_lr);
  run.RunGolden(0, 6);
  ExpectNear(run.weights(), golden.weights, 1e-13);
  ExpectNear(run.server(scaffold ? "control" : "h"), golden.server, 1e-13);
  for (int64_t k = 0; k < kClients; ++k) {
    ExpectNear(run.client(k, scaffold ? "control" : "gradient"),
               golden.clients[static_cast<size_t>(k)], 1e-13);
  }
}

// What the server keeps is the mean of what the clients keep, whoever took
// part.
TEST_P(MethodsGoldenTest, TheServersSumIsTheMeanOfTheClients) {
  const bool scaffold = std::string(GetParam().name) == Scaffold::kName;
  Quadratics run(MakeAlgorithm(GetParam()), GetParam().momentum);
  run.RunGolden(0, 6);
  std::vector<double> mean(kWeights, 0);
  for (int64_t k = 0; k < kClients; ++k) {
    const auto own = run.client(k, scaffold ? "control" : "gradient");
    for (size_t j = 0; j < mean.size(); ++j) {
      mean[j] += own[j] / kClients;
    }
  }
  ExpectNear(run.server(scaffold ? "control" : "h"), mean, 1e-14);
}

TEST_P(MethodsGoldenTest, ALoadedStateGoesOnWithTheSameBits) {
  Quadratics steady(MakeAlgorithm(GetParam()), GetParam().momentum);
  Quadratics resumed(MakeAlgorithm(GetParam()), GetParam().momentum);
  steady.RunGolden(0, 6);
  resumed.RunGolden(0, 3);
  auto fresh = MakeAlgorithm(GetParam());
  ASSERT_EQ(fresh->LoadState(resumed.algorithm().SaveState()),
            absl::OkStatus());
  resumed.GoOnWith(std::move(fresh));
  resumed.RunGolden(3, 6);
  EXPECT_EQ(resumed.weights(), steady.weights());
}

TEST_P(MethodsGoldenTest, ClientsKeepExactlyTheBytesDeclared) {
  Quadratics run(MakeAlgorithm(GetParam()));
  run.RunGolden(0, 3);
  int64_t bytes = 0;
  for (const auto& [owner, part] : run.states()[1].parts) {
    for (const auto& [name, tensors] : part.tensors) {
      bytes += NumBytes(tensors);
    }
  }
  EXPECT_EQ(bytes, 5 * 8);
  EXPECT_EQ(run.algorithm().BytesPerClient(Layout()), bytes);
}

// A round works on copies of the states, and copies share their tensors.
TEST_P(MethodsGoldenTest, TheStateBeforeTheRoundStaysAsItWas) {
  Quadratics run(MakeAlgorithm(GetParam()));
  run.RunGolden(0, 1);
  const std::vector<ClientState> before = run.states();
  const TensorList kept =
      before[1].parts.at("client_algorithm").tensors.begin()->second;
  const std::string bits = Sha256Hex(kept);
  run.RunGolden(1, 2);
  EXPECT_EQ(Sha256Hex(kept), bits);
  EXPECT_NE(
      Sha256Hex(
          run.states()[1].parts.at("client_algorithm").tensors.begin()->second),
      bits);
}

TEST_P(MethodsGoldenTest, ClientsWeighTheSameWhateverTheyHold) {
  const auto algorithm = MakeAlgorithm(GetParam());
  RoundTask task = MakeTask(Unflatten({1, 2, 3, 4, 5}), 0.1);
  ASSERT_EQ(algorithm->PrepareTask(task), absl::OkStatus());
  Update update;
  update.kind = Update::Kind::kDelta;
  update.num_examples = 70;
  update.local_steps = 1;
  update.groups[kParametersGroup] = Unflatten({0, 0, 0, 0, 1});
  ClientState state;
  ASSERT_EQ(algorithm->AddToUpdate(task, task.weights, update, state),
            absl::OkStatus());
  EXPECT_EQ(update.num_examples, 1);
}

TEST_P(MethodsGoldenTest, RoundsWithoutLocalStepsToCorrectAreRefused) {
  const auto algorithm = MakeAlgorithm(GetParam());
  RoundTask task = MakeTask(Unflatten({1, 2, 3, 4, 5}), 0.1);
  task.work = {.kind = RoundWork::Kind::kGradient};
  absl::Status status = algorithm->PrepareTask(task);
  EXPECT_EQ(FailureOf(status), Failure::kConfig);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("sync_policy.name = \"fedavg\""));
  task.work = {
      .kind = RoundWork::Kind::kLocalSteps, .local_steps = 1, .base_round = 0};
  status = algorithm->PrepareTask(task);
  EXPECT_EQ(FailureOf(status), Failure::kConfig);
  EXPECT_THAT(std::string(status.message()), HasSubstr("without an average"));
}

TEST_P(MethodsGoldenTest, AStateOfOtherShapesIsNoticed) {
  const auto algorithm = MakeAlgorithm(GetParam());
  ClientState state;
  state.parts["client_algorithm"].tensors = {{"control", {at::tensor({1.0})}},
                                             {"gradient", {at::tensor({1.0})}}};
  RoundTask task = MakeTask(Unflatten({1, 2, 3, 4, 5}), 0.1);
  ASSERT_EQ(algorithm->PrepareTask(task), absl::OkStatus());
  TensorList gradient = Unflatten({1, 1, 1, 1, 1});
  EXPECT_EQ(
      algorithm->AdjustGradient(task, state, task.weights, gradient).code(),
      absl::StatusCode::kInvalidArgument);
}

INSTANTIATE_TEST_SUITE_P(, MethodsGoldenTest,
                         testing::ValuesIn(MethodGoldens()),
                         [](const auto& info) {
                           return absl::StrCat(info.param.name, "_",
                                               info.index);
                         });

// Minimum of the clients' mean loss.
std::vector<double> Minimum() {
  std::vector<double> minimum;
  for (int64_t j = 0; j < kWeights; ++j) {
    double weighted = 0;
    double total = 0;
    for (int64_t k = 0; k < kClients; ++k) {
      weighted += Curvature(k, j) * Centre(k, j);
      total += Curvature(k, j);
    }
    minimum.push_back(weighted / total);
  }
  return minimum;
}

// After 300 rounds of ten steps of everybody.
std::vector<double> WeightsInTheEnd(
    std::unique_ptr<ClientAlgorithm> algorithm) {
  Quadratics run(std::move(algorithm), 0, 1, "weighting = 'uniform'");
  for (int64_t t = 0; t < 300; ++t) {
    run.RunRound(t, {0, 1, 2, 3}, 0.1, [](int64_t) { return 10; });
  }
  return run.weights();
}

TEST(DriftTest, TheMinimumIsWhereFedAvgDoesNotEnd) {
  EXPECT_GT(Distance(WeightsInTheEnd(Make<None>("")), Minimum()), 0.01);
  EXPECT_LE(Distance(WeightsInTheEnd(Make<Scaffold>("")), Minimum()), 1e-10);
  EXPECT_LE(Distance(WeightsInTheEnd(Make<FedDyn>("alpha = 1.0")), Minimum()),
            1e-10);
}

// The mean of c - c_i over all clients is 0.
TEST(ScaffoldTest, OneStepOfEverybodyIsFedAvg) {
  Quadratics scaffold(Make<Scaffold>(""));
  Quadratics fedavg(Make<None>(""), 0, 1, "weighting = 'uniform'");
  for (int64_t t = 0; t < 20; ++t) {
    for (Quadratics* run : {&scaffold, &fedavg}) {
      run->RunRound(t, {0, 1, 2, 3}, 0.1, [](int64_t) { return 1; });
    }
  }
  ExpectNear(scaffold.weights(), fedavg.weights(), 1e-14);
}

// One step from x: x - y = eta (g - c_i + c), so c_i+ = g at x.
TEST(ScaffoldTest, AfterOneStepTheVariateIsTheGradient) {
  Quadratics run(Make<Scaffold>(""));
  run.RunGolden(0, 2);
  const TensorList start = Unflatten(run.weights());
  run.RunRound(2, {0, 2}, 0.05, [](int64_t) { return 1; });
  ExpectNear(run.client(2, "control"), Flatten(GradientOf(2, start)), 1e-13);
}

TEST(ScaffoldTest, StepsOfRateZeroTeachNothing) {
  Quadratics run(Make<Scaffold>(""));
  run.RunGolden(0, 2);
  const auto own = run.client(2, "control");
  const auto server = run.server("control");
  run.RunRound(2, {0, 2}, 0, [](int64_t) { return 3; });
  EXPECT_EQ(run.client(2, "control"), own);
  EXPECT_EQ(run.server("control"), server);
}

TEST(ScaffoldTest, ATaskWithoutTheVariateIsRefused) {
  const auto scaffold = Make<Scaffold>("");
  const RoundTask task = MakeTask(Unflatten({1, 2, 3, 4, 5}), 0.1);
  TensorList gradient = Unflatten({1, 1, 1, 1, 1});
  EXPECT_EQ(scaffold->AdjustGradient(task, {}, task.weights, gradient).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(ScaffoldTest, BoundsHold) {
  EXPECT_FALSE(TryMake<Scaffold>("momentum = 1.0").ok());
  EXPECT_FALSE(TryMake<Scaffold>("momentum = -0.1").ok());
}

// h becomes -alpha times the mean delta, so the server goes there and once more
// as far.
TEST(FedDynTest, TheFirstRoundOfEverybodyGoesTwiceTheMeanDelta) {
  Quadratics run(Make<FedDyn>("alpha = 0.5"));
  const std::vector<double> start = run.weights();
  run.RunRound(0, {0, 1, 2, 3}, 0.1, [](int64_t) { return 1; });
  for (int64_t j = 0; j < kWeights; ++j) {
    double delta = 0;  // alpha has no part in the first step
    const double w = start[static_cast<size_t>(j)];
    for (int64_t k = 0; k < kClients; ++k) {
      delta -= 0.1 * Curvature(k, j) * (w - Centre(k, j)) / kClients;
    }
    EXPECT_NEAR(run.weights()[static_cast<size_t>(j)], w + 2 * delta, 1e-14);
  }
}

TEST(FedDynTest, BoundsHold) {
  EXPECT_FALSE(TryMake<FedDyn>("alpha = 0.0").ok());
  EXPECT_FALSE(TryMake<FedDyn>("alpha = -0.1").ok());
}

}  // namespace
}  // namespace fedlb
