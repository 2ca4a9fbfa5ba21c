// Refuses TOML that its parser would not survive.

#ifndef FEDLB_SRC_TOML_SHAPE_H_
#define FEDLB_SRC_TOML_SHAPE_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace fedlb {

inline constexpr int kMaxTomlKeyParts = 32;
inline constexpr int kMaxTomlNesting = 64;

// toml++ 3.3 recurses once per part of a dotted key and overflows the stack at
// 10^5 of them.
//
// kConfig with the position in `source`: a key with more than kMaxTomlKeyParts
// dotted parts, or brackets nested more than kMaxTomlNesting deep.
absl::Status CheckTomlShape(absl::string_view text, absl::string_view source);

}  // namespace fedlb

#endif  // FEDLB_SRC_TOML_SHAPE_H_
