// The largest eigenvalue of the Hessian that batch policies are told, against
// the Hessian written out.

#include <cmath>
#include <fstream>
#include <numeric>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/linalg_eigvalsh.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <nlohmann/json.hpp>

#include "core/training_testing.h"
#include "fedlb/dataset.h"
#include "fedlb/model.h"
#include "gtest/gtest.h"

namespace fedlb {
namespace {

class CurvatureTest : public TrainingTest {};

// With x~ = (x, 1), the Hessian of the cross entropy of a linear model is
//   H = mean of (diag(p) - p p^T) (x) x~ x~^T,  p = softmax(W x~).
double LargestEigenvalue(const ExperimentConfig& config) {
  ComponentContext context;
  context.seed = static_cast<uint64_t>(config.run.seed);
  context.dtype = at::kDouble;
  context.num_clients = 1;
  context.registry = &BuiltPlugins();
  const auto dataset =
      BuiltPlugins().Create<Dataset>(config.components.at("dataset"), context);
  context.example_shape = (*dataset)->example_shape();
  context.num_classes = (*dataset)->num_classes();
  const auto model =
      BuiltPlugins().Create<Model>(config.components.at("model"), context);
  std::vector<int64_t> all(
      static_cast<size_t>((*dataset)->size(Split::kTrain)));
  std::iota(all.begin(), all.end(), 0);
  const auto batch = (*dataset)->Load(Split::kTrain, all, nullptr);
  const at::Tensor p =
      (*model)->Forward(batch->inputs)->softmax(1).to(at::kDouble).detach();
  const auto count = p.size(0);
  const at::Tensor x =
      at::cat({batch->inputs.reshape({count, -1}).to(at::kDouble),
               at::ones({count, 1}, at::kDouble)},
              1);
  const int64_t classes = p.size(1);
  const int64_t features = x.size(1);
  at::Tensor hessian =
      at::zeros({classes * features, classes * features}, at::kDouble);
  for (int64_t i = 0; i < count; ++i) {
    const at::Tensor outer = p[i].diag().sub(p[i].outer(p[i]));
    hessian.add_(outer.kron(x[i].outer(x[i])),
                 1.0 / static_cast<double>(count));
  }
  return at::linalg_eigvalsh(hessian).max().item<double>();
}

TEST_F(CurvatureTest, IsTheLargestEigenvalueOfTheHessian) {
  const Settings settings = {
      "rounds=1",
      "precision=fp64",
      "dataset.name=synthetic",
      "dataset.shape=[6]",
      "dataset.classes=3",
      "dataset.train_size=80",
      "dataset.test_size=10",
      "federation.clients=1",
      "partitioner.name=iid",
      "model.name=logistic",
      "sync_policy.name=bsp",
      "batch_policy.name=curvature",
      "batch_policy.batch_size=80",
  };
  const Outcome run = Train(settings);
  std::ifstream file(run.result.run_dir + "/metrics.jsonl");
  std::string line;
  std::getline(file, line);
  const double curvature = nlohmann::json::parse(line).at("curvature");
  const double expected = LargestEigenvalue(Configure(settings));
  // The power iteration ends at a change of 1 %, from below.
  EXPECT_NEAR(curvature / expected, 1, 0.03);
}

TEST_F(CurvatureTest, IsTheSameForAnyNumberOfWorkersAndAfterResume) {
  const Settings settings = {"rounds=6",
                             "dataset.name=synthetic",
                             "dataset.shape=[6]",
                             "dataset.classes=3",
                             "dataset.train_size=240",
                             "dataset.test_size=10",
                             "federation.clients=4",
                             "model.name=mlp",
                             "sync_policy.name=bsp",
                             "batch_policy.name=curvature",
                             "batch_policy.batch_size=4",
                             "batch_policy.every=1",
                             "batch_policy.patience=2"};
  const std::string once = Train(settings).result.weights_sha256;
  EXPECT_EQ(
      Train(settings + Settings{"transport.workers=3"}).result.weights_sha256,
      once);
  EXPECT_EQ(TrainInterrupted(settings, 3).result.weights_sha256, once);
}

}  // namespace
}  // namespace fedlb
