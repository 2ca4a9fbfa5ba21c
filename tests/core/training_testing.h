// Whole runs in this process, with the plugins that were built.

#ifndef FEDLB_TESTS_CORE_TRAINING_TESTING_H_
#define FEDLB_TESTS_CORE_TRAINING_TESTING_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "fedlb/experiment.h"
#include "fedlb/experiment_config.h"
#include "fedlb/registry.h"
#include "fedlb/tensor_list.h"
#include "gtest/gtest.h"

namespace fedlb {

// Assignments as --set takes them: "optimizer.lr=0.1".
using Settings = std::vector<std::string>;

Settings operator+(Settings left, const Settings& right);

// Every component of every plugin that was built.
const ComponentRegistry& BuiltPlugins();

ExperimentConfig Configure(const Settings& sets);

// What a run ended with.
struct Outcome {
  TrainResult result;
  TensorList weights;
};

class TrainingTest : public testing::Test {
 protected:
  TrainingTest();
  ~TrainingTest() override;

  // A path that does not exist, gone after the test.
  std::string NewFolder();

  Outcome Train(const Settings& sets);

  // Stops after `round` rounds and goes on in a new process, as it were.
  Outcome TrainInterrupted(const Settings& sets, int64_t round);

  // What ends a run before its first round.
  absl::Status RefusalOf(const Settings& sets);

 private:
  std::string directory_;
  int num_runs_ = 0;
};

// |a - b| / |b|.
double RelativeDifference(const TensorList& a, const TensorList& b);

}  // namespace fedlb

#endif  // FEDLB_TESTS_CORE_TRAINING_TESTING_H_
