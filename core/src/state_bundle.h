// Component states inside tasks: every name gets a prefix.

#ifndef FEDLB_STATE_BUNDLE_H_
#define FEDLB_STATE_BUNDLE_H_

#include "absl/strings/string_view.h"
#include "fedlb/component.h"

namespace fedlb {

// Adds the tensors and scalars of `state` under the names "<owner>.<name>".
void AddState(absl::string_view owner, const ComponentState& state,
              TensorGroups& tensors, ScalarMap& scalars);

// The reverse: what stands under "<owner>.".
ComponentState ExtractState(absl::string_view owner,
                            const TensorGroups& tensors,
                            const ScalarMap& scalars);

}  // namespace fedlb

#endif  // FEDLB_STATE_BUNDLE_H_
