#include "core/training_testing.h"

#include <unistd.h>

#include <atomic>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "fedlb/config.h"
#include "fedlb/plugin_loader.h"
#include "fedlb/safetensors.h"
#include "fedlb/status.h"

namespace fedlb {
namespace {

std::unique_ptr<Experiment> Make(const Settings& sets) {
  auto experiment =
      Experiment::Create(Configure(sets), BuiltPlugins(), Logger::Null());
  EXPECT_TRUE(experiment.ok()) << experiment.status();
  return *std::move(experiment);
}

TensorList WeightsIn(const std::string& run_dir) {
  const auto file =
      ReadSafetensors(absl::StrCat(run_dir, "/weights.safetensors"));
  EXPECT_TRUE(file.ok()) << file.status();
  TensorList weights;
  for (const auto& [name, tensor] : file->tensors) {
    weights.push_back(tensor);
  }
  return weights;
}

Outcome Finish(Experiment& experiment, const TrainOptions& options) {
  auto result = experiment.Train(options);
  EXPECT_TRUE(result.ok()) << result.status();
  return {*std::move(result), WeightsIn(options.run_dir)};
}

}  // namespace

Settings operator+(Settings left, const Settings& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

const ComponentRegistry& BuiltPlugins() {
  static const ComponentRegistry& registry = *[] {
    auto* loaded = new ComponentRegistry();
    const absl::Status status =
        LoadPlugins({.files = {},
                     .directories = {FEDLB_TEST_PLUGIN_DIR},
                     .use_defaults = false},
                    *loaded);
    EXPECT_TRUE(status.ok()) << status;
    return loaded;
  }();
  return registry;
}

ExperimentConfig Configure(const Settings& sets) {
  const auto table = LoadConfig({.environment = false, .sets = sets});
  EXPECT_TRUE(table.ok()) << table.status();
  auto config = ResolveExperiment(*table, BuiltPlugins());
  EXPECT_TRUE(config.ok()) << config.status();
  return *std::move(config);
}

TrainingTest::TrainingTest() {
  std::string name = testing::TempDir() + "/fedlb-training-XXXXXX";
  directory_ = mkdtemp(name.data());
}

TrainingTest::~TrainingTest() { std::filesystem::remove_all(directory_); }

std::string TrainingTest::NewFolder() {
  return absl::StrCat(directory_, "/run", num_runs_++);
}

Outcome TrainingTest::Train(const Settings& sets) {
  TrainOptions options;
  options.run_dir = NewFolder();
  return Finish(*Make(sets), options);
}

Outcome TrainingTest::TrainInterrupted(const Settings& sets, int64_t round) {
  std::atomic<int> stop = 0;
  TrainOptions options;
  options.run_dir = NewFolder();
  options.stop = &stop;
  options.on_progress = [&](const RoundProgress& progress) {
    stop = progress.round == round ? 1 : 0;
  };
  EXPECT_EQ(FailureOf(Make(sets)->Train(options).status()),
            Failure::kInterrupted);
  stop = 0;
  options.resume = true;
  options.on_progress = nullptr;
  return Finish(*Make(sets), options);
}

absl::Status TrainingTest::RefusalOf(const Settings& sets) {
  auto experiment =
      Experiment::Create(Configure(sets), BuiltPlugins(), Logger::Null());
  if (!experiment.ok()) {
    return experiment.status();
  }
  const absl::Status planned = (*experiment)->Plan(nullptr).status();
  TrainOptions options;
  options.run_dir = NewFolder();
  const absl::Status trained = (*experiment)->Train(options).status();
  EXPECT_EQ(planned.ToString(), trained.ToString());
  return trained;
}

double RelativeDifference(const TensorList& a, const TensorList& b) {
  EXPECT_EQ(a.size(), b.size());
  TensorList difference = Clone(a);
  AddScaled(b, -1, difference);
  return std::sqrt(SquaredNorm(difference) / SquaredNorm(b));
}

}  // namespace fedlb
