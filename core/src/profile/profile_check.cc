#include "profile/profile_check.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "fedlb/logger.h"
#include "fedlb/status.h"
#include "profile/describe_model.h"
#include "profile/profiler.h"

namespace fedlb {

absl::StatusOr<ProfileCheck> ProfileCheck::Create(
    const DeviceProfile& profile, const Federation& federation) {
  const DeviceProfile here = DescribeDevice(federation);
  if (DescribeModel(profile) != DescribeModel(here)) {
    return InputFileError(
        absl::StrCat("the profile is of ", DescribeModel(profile),
                     ", and this run trains ", DescribeModel(here),
                     "; measure it with fedlb profile and "
                     "the settings of this run"));
  }
  std::vector<std::string> differences;
  const auto compare = [&differences](const char* what, const auto& of_profile,
                                      const auto& of_run) {
    if (of_profile != of_run) {
      differences.push_back(
          absl::StrCat(what, " ", of_profile, " against ", of_run));
    }
  };
  compare("data set", profile.dataset, here.dataset);
  compare("optimizer", profile.optimizer, here.optimizer);
  compare("workers", profile.workers, here.workers);
  compare("device", profile.device, here.device);
  if (!differences.empty()) {
    federation.logger->Warning(absl::StrCat(
        "the profile was measured otherwise than this run trains (",
        absl::StrJoin(differences, ", "), "): its predictions may be off"));
  }
  FEDLB_ASSIGN_OR_RETURN(ProfileModels models, ProfileModels::Fit(profile));
  return ProfileCheck(profile, std::move(models));
}

void ProfileCheck::AddRound(ScalarMap& metrics) {
  const double batch = metrics["batch_examples"];
  const double measured = metrics["batch_seconds"];
  const BatchPrediction prediction =
      Predict(profile_, models_, std::llround(batch));
  const double seconds = prediction.step_seconds.value;
  const double bytes = prediction.memory_bytes.value;
  metrics["predicted_batch_seconds"] = seconds;
  metrics["predicted_peak_bytes"] = bytes;
  if (!std::isnan(bytes)) {
    sums_.predicted_peak_bytes =
        std::max<int64_t>(sums_.predicted_peak_bytes, std::llround(bytes));
  }
  if (!std::isnan(seconds) && measured > 0) {
    ++sums_.rounds;
    sums_.predicted_seconds += seconds;
    sums_.measured_seconds += measured;
    errors_.push_back(std::abs(seconds / measured - 1));
  }
}

ProfileComparison ProfileCheck::Compare(int64_t peak_bytes) const {
  ProfileComparison result = sums_;
  result.measured_peak_bytes = peak_bytes;
  if (result.rounds > 0) {
    result.predicted_seconds /= static_cast<double>(result.rounds);
    result.measured_seconds /= static_cast<double>(result.rounds);
    std::vector<double> errors = errors_;
    const auto middle =
        errors.begin() + static_cast<std::ptrdiff_t>(errors.size() / 2);
    std::nth_element(errors.begin(), middle, errors.end());
    result.median_error = *middle;
  }
  return result;
}

}  // namespace fedlb
