// How messages name the model of a profile.

#ifndef FEDLB_SRC_PROFILE_DESCRIBE_MODEL_H_
#define FEDLB_SRC_PROFILE_DESCRIBE_MODEL_H_

#include <string>

#include "absl/strings/str_cat.h"
#include "fedlb/profile.h"

namespace fedlb {

// Profiles can be held against each other where these are equal.
inline std::string DescribeModel(const DeviceProfile& profile) {
  return absl::StrCat(profile.model, " with ", profile.parameters,
                      " parameters in ", profile.precision);
}

}  // namespace fedlb

#endif  // FEDLB_SRC_PROFILE_DESCRIBE_MODEL_H_
