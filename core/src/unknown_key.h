// What to say about a key or section that nobody declared.

#ifndef FEDLB_SRC_UNKNOWN_KEY_H_
#define FEDLB_SRC_UNKNOWN_KEY_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace fedlb {

// " (did you mean `x`?)" with the nearest of `candidates`, or nothing.
std::string DidYouMean(absl::string_view word,
                       const std::vector<std::string>& candidates);

// kConfig: "<origin>: unknown key `trim` (did you mean `trim_fraction`?)"; the
// list of `valid` keys where none is near.
absl::Status UnknownKeyError(absl::string_view origin, absl::string_view key,
                             const std::vector<std::string>& valid);

// The same for a section.
absl::Status UnknownSectionError(absl::string_view origin,
                                 absl::string_view section,
                                 const std::vector<std::string>& valid);

}  // namespace fedlb

#endif  // FEDLB_SRC_UNKNOWN_KEY_H_
