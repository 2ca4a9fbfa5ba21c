// Many runs of one experiment: settings, seeds, and what they say together.

#ifndef FEDLB_SWEEP_H_
#define FEDLB_SWEEP_H_

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "fedlb/export.h"

namespace fedlb {

// What is compared, in one or more settings. `sets` are assignments as --set
// takes them, with a list of values where several are to be tried:
// "optimizer.lr=0.05,0.1". Commas within brackets, braces and quotes belong to
// the value.
struct SweepMethod {
  std::string name;
  std::vector<std::string> sets;
};

struct Sweep {
  std::vector<std::string> configs;  // files that all runs have in common
  std::vector<SweepMethod> methods;
  std::vector<int64_t> seeds;
  // The seeds on whose runs a method's setting is chosen; empty for `seeds`.
  std::vector<int64_t> tuning_seeds;
};

// Reads a study:
//
//   config = ["base.toml"]       # paths relative to the study
//   seeds = "1..5"               # or [1, 2, 3]
//   tuning_seeds = [11, 12]      # default: seeds
//   [[method]]
//   name = "SGD"
//   set = ["optimizer.name=sgd", "optimizer.lr=0.1,0.2,0.4"]
//
// kConfig with file, line and column.
FEDLB_API absl::StatusOr<Sweep> ReadSweepFile(const std::string& path);

// "3", "1..5", "1,2,7..9". kConfig for anything else, for more than 10,000
// seeds and for one that is named twice.
FEDLB_API absl::StatusOr<std::vector<int64_t>> ParseSeeds(
    absl::string_view text);

// One combination of a method's values.
struct SweepSetting {
  std::string label;  // "optimizer.lr=0.05"; empty where nothing varies
  std::vector<std::string> sets;
};

// Every combination, the values of the last list changing fastest. kConfig for
// an assignment without "=", an empty value, or more than 10,000 combinations.
FEDLB_API absl::StatusOr<std::vector<SweepSetting>> ExpandSettings(
    const std::vector<std::string>& sets);

// Where a run stood at an evaluation. Accuracies are NaN where there is no such
// split.
struct SweepPoint {
  double steps = 0;
  double samples = 0;
  double seconds = 0;
  double test_accuracy = std::numeric_limits<double>::quiet_NaN();
  double validation_accuracy = std::numeric_limits<double>::quiet_NaN();
};

// What one run left.
struct SweepRun {
  std::string run_dir;
  bool diverged = false;
  std::vector<SweepPoint> points;  // none where it diverged
};

// The evaluations in the folder of a run.
//
// kInputFile: no run, or none that has been evaluated.
FEDLB_API absl::StatusOr<SweepRun> ReadSweepRun(const std::string& run_dir);

// Mean and standard deviation (n - 1) over the runs that did not diverge; NaN
// for none, and no deviation for one.
struct Spread {
  double mean = std::numeric_limits<double>::quiet_NaN();
  double deviation = std::numeric_limits<double>::quiet_NaN();
};

FEDLB_API Spread MeanAndDeviation(const std::vector<double>& values);

FEDLB_API int64_t CountDiverged(const std::vector<SweepRun>& runs);

// The mean of a run's last three validation accuracies, averaged over runs.
FEDLB_API double ValidationScore(const std::vector<SweepRun>& runs);

// The position of the best of several settings: the highest score among those
// of which the fewest runs diverged. Ties go to the first.
//
// kConfig: there is more than one setting and no validation split.
FEDLB_API absl::StatusOr<size_t> ChooseSetting(
    const std::vector<std::vector<SweepRun>>& settings);

// A method's row of the final table, test accuracies in [0, 1].
struct SweepRow {
  std::string method;
  std::string setting;
  int64_t runs = 0;
  int64_t diverged = 0;
  double validation_score = std::numeric_limits<double>::quiet_NaN();
  Spread final_accuracy;
  Spread last_three;  // mean of the last three evaluations
  // At the most steps, samples or training seconds that every run of the table
  // reached: the newest evaluation until then; NaN where a run has none. Steps
  // are the server's or those of all clients together.
  Spread at_equal_steps;
  Spread at_equal_samples;
  Spread at_equal_seconds;
};

struct SweepTable {
  double equal_steps = 0;
  double equal_samples = 0;
  double equal_seconds = 0;
  std::vector<SweepRow> rows;
};

// The runs of one method in its chosen setting.
struct SweepResult {
  std::string method;
  std::string setting;
  double validation_score = std::numeric_limits<double>::quiet_NaN();
  std::vector<SweepRun> runs;
};

FEDLB_API SweepTable Tabulate(const std::vector<SweepResult>& results);

}  // namespace fedlb

#endif  // FEDLB_SWEEP_H_
