// What methods with a memory share: where a client's tensors lie in its state,
// and which rounds such a method can take part in.

#ifndef FEDLB_PLUGINS_ALGORITHMS_CLIENT_MEMORY_H_
#define FEDLB_PLUGINS_ALGORITHMS_CLIENT_MEMORY_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "fedlb/client_state.h"
#include "fedlb/round_task.h"
#include "fedlb/tensor_list.h"

namespace fedlb::algorithms {

// The list `name` that the client keeps for its algorithm; nullptr before it
// has kept one.
const TensorList* FindKept(const ClientState& state, absl::string_view name);

// Makes `tensors` the list that FindKept returns. They must not be those that
// FindKept returned, changed in place: a round that fails keeps the old ones.
void Keep(absl::string_view name, TensorList tensors, ClientState& state);

// kInvalidArgument naming `what` when its shapes or types are not those of
// `weights`.
absl::Status CheckFits(const TensorList& weights, const TensorList& tensors,
                       absl::string_view what);

// kConfig unless the round consists of local steps that begin with the server's
// weights: a single gradient leaves nothing to correct, and where clients go on
// from weights of their own a delta spans more steps than it counts.
absl::Status CheckLocalSteps(const RoundWork& work,
                             absl::string_view algorithm);

}  // namespace fedlb::algorithms

#endif  // FEDLB_PLUGINS_ALGORITHMS_CLIENT_MEMORY_H_
