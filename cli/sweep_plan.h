// The runs that a sweep may want.

#ifndef FEDLB_CLI_SWEEP_PLAN_H_
#define FEDLB_CLI_SWEEP_PLAN_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "command.h"
#include "fedlb/sweep.h"
#include "sweep_command.h"

namespace fedlb::cli {

// One run that is wanted: its configuration, and where its parts lie.
struct PlannedRun {
  std::string id;
  std::string config_text;
  bool has_validation = false;
  bool in_process = false;  // clients are played by the process itself
};

// A method's settings with their runs, by seed.
struct PlannedSetting {
  std::string label;
  std::map<int64_t, PlannedRun> runs;
};

struct PlannedMethod {
  std::string name;
  std::vector<PlannedSetting> settings;
};

// What is to be swept, from the study and the flags.
absl::StatusOr<Sweep> SweepOf(const SweepFlags& flags);

// Every run that may be wanted; configurations that are wrong are found here,
// before the first run.
absl::StatusOr<std::vector<PlannedMethod>> PlanRuns(const Sweep& sweep,
                                                    const CommonFlags& common);

// The seeds that all of a method's settings run with: those for choosing one
// where there are several, and those that are compared otherwise.
const std::vector<int64_t>& FirstSeeds(const Sweep& sweep,
                                       const PlannedMethod& method);

}  // namespace fedlb::cli

#endif  // FEDLB_CLI_SWEEP_PLAN_H_
