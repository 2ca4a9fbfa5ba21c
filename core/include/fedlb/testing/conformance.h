// Holds components against the promises of their kinds.

#ifndef FEDLB_TESTING_CONFORMANCE_H_
#define FEDLB_TESTING_CONFORMANCE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "fedlb/config_table.h"
#include "fedlb/export.h"
#include "fedlb/registry.h"

// Not fedlb::testing, which would hide ::testing from every test in fedlb.
namespace fedlb::conformance {

// Where a component may differ from the others of its kind, and what it needs
// to be made at all. A component says so in its test, next to the reason.
struct Deviations {
  // Options to make it with, instead of its defaults.
  ConfigTable options;
  // Why it cannot be made here. Only what needs no instance is checked then.
  std::string cannot_create;
  // Relative difference allowed between results that ought to be equal but may
  // round differently.
  double tolerance = 1e-5;

  // Model: shape of one example. Empty: the first of 1x28x28, 3x32x32 and 16
  // that the model takes.
  std::vector<int64_t> example_shape;
  // Model: another seed gives other initial weights.
  bool seed_changes_weights = true;

  // Aggregator: fewest updates that the rule works with.
  int64_t min_clients = 1;
  // Aggregator: identical updates come out as they went in.
  bool fixed_point = true;
  // Aggregator: the order of the clients does not matter.
  bool order_free = true;
};

// One promise, and whether it is kept.
struct CheckResult {
  std::string check;  // "the order of clients changes nothing"
  // OK, or what happened instead; with `skipped`, why it was not tried.
  absl::Status status;
  bool skipped = false;
};

// Runs the checks that every component must pass and those of its kind. Kinds
// without a suite of their own get the former only. Names of checks are unique
// within the result.
//
// A component that says kFailedPrecondition ("cannot run here") or kInputFile
// (a file that is not here) when it is made with its defaults has the checks
// that need an instance skipped.
FEDLB_API std::vector<CheckResult> RunConformance(
    const ComponentEntry& entry, const ComponentRegistry& registry,
    const Deviations& deviations = {});

// True when nothing failed; what was skipped does not count.
FEDLB_API bool AllPassed(const std::vector<CheckResult>& results);

}  // namespace fedlb::conformance

#endif  // FEDLB_TESTING_CONFORMANCE_H_
