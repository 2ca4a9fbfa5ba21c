// Pages with the curves and figures of runs.

#ifndef FEDLB_REPORT_H_
#define FEDLB_REPORT_H_

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "fedlb/export.h"

namespace fedlb {

// How far a run has got, from its folder. Figures are the newest there are, and
// NaN where nothing was measured.
struct RunSummary {
  static constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

  std::string run_dir;
  std::string name;  // of the configuration; empty where that cannot be read
  int64_t rounds = 0;
  int64_t planned_rounds = 0;
  int64_t steps = 0;
  int64_t samples = 0;
  int64_t damaged_lines = 0;      // of metrics.jsonl, which are passed over
  double seconds = 0;             // training only
  double evaluation_seconds = 0;  // all evaluations together
  double virtual_seconds = kNone;
  double train_loss = kNone;
  double train_accuracy = kNone;
  double test_loss = kNone;
  double test_accuracy = kNone;
  double test_accuracy_top5 = kNone;
  double validation_loss = kNone;
  double validation_accuracy = kNone;
  double scaled_share = kNone;  // of the rounds whose gain was not 1
  double peak_bytes = kNone;    // of tensors
  // The highest test accuracy and when it was reached.
  double best_accuracy = kNone;
  int64_t best_round = 0;
  // What it took to reach the accuracy that all runs of the report reached
  // (Report::common_accuracy); 0 and NaN where there is none.
  int64_t rounds_to_common = 0;
  double samples_to_common = kNone;
  double seconds_to_common = kNone;
};

struct Report {
  // One HTML file that loads nothing from elsewhere.
  std::string page;
  std::vector<RunSummary> runs;  // in the order of the folders
  // With several runs: the keys ("section.key") in which their configurations
  // differ, and the lowest of their best test accuracies, or NaN.
  std::vector<std::string> differing_keys;
  double common_accuracy = RunSummary::kNone;
};

// Of one folder the curves and figures of that run; of several a comparison.
// Runs may be in progress or have been interrupted.
//
// kInputFile: a folder holds no run, or its files cannot be read.
FEDLB_API absl::StatusOr<Report> RenderReport(
    const std::vector<std::string>& run_dirs);

// Runs that differ in their seed only.
struct RunGroup {
  std::string name;
  std::vector<std::string> run_dirs;
};

// A page that compares groups: curves of the mean with bands of one standard
// deviation, and the distribution of gains of all runs of a group together.
//
// kInputFile: as above.
FEDLB_API absl::StatusOr<std::string> RenderGroupComparison(
    const std::string& title, const std::vector<RunGroup>& groups);

}  // namespace fedlb

#endif  // FEDLB_REPORT_H_
