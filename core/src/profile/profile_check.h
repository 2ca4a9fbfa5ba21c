// Holds what a run takes against what a profile predicts.

#ifndef FEDLB_SRC_PROFILE_PROFILE_CHECK_H_
#define FEDLB_SRC_PROFILE_PROFILE_CHECK_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "federation.h"
#include "fedlb/experiment.h"
#include "fedlb/profile.h"

namespace fedlb {

class ProfileCheck {
 public:
  // Warns of what makes the profile a worse guide: another data set, optimizer
  // or number of workers.
  //
  // kInputFile: a profile of another model.
  static absl::StatusOr<ProfileCheck> Create(const DeviceProfile& profile,
                                             const Federation& federation);

  // Adds `predicted_batch_seconds` and `predicted_peak_bytes` to the metrics of
  // a round, NaN where the profile tells nothing of its batch size.
  void AddRound(ScalarMap& metrics);

  // Of all rounds so far, with the peak of the run.
  ProfileComparison Compare(int64_t peak_bytes) const;

 private:
  ProfileCheck(const DeviceProfile& profile, ProfileModels models)
      : profile_(profile), models_(std::move(models)) {}

  DeviceProfile profile_;
  ProfileModels models_;
  ProfileComparison sums_;  // seconds are totals over the rounds
  std::vector<double> errors_;
};

}  // namespace fedlb

#endif  // FEDLB_SRC_PROFILE_PROFILE_CHECK_H_
