// Measures a device and finds the largest batch size that it can use.

#ifndef FEDLB_SRC_PROFILE_PROFILER_H_
#define FEDLB_SRC_PROFILE_PROFILER_H_

#include "absl/status/statusor.h"
#include "federation.h"
#include "fedlb/profile.h"

namespace fedlb {

// What is known of a device and its work without a measurement.
DeviceProfile DescribeDevice(const Federation& federation);

// Steps of growing batch sizes, none of which is begun unless it is predicted
// to fit. `federation` is used up.
//
// kOutOfMemory: not even the smallest batch, or an evaluation, fits the budget;
// kConfig: the model cannot be trained as configured; kInterrupted.
absl::StatusOr<DeviceProfile> ProfileDevice(Federation& federation,
                                            const ProfileOptions& options);

}  // namespace fedlb

#endif  // FEDLB_SRC_PROFILE_PROFILER_H_
