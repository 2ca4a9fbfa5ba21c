// Both halves of a federated method: what clients do to their gradients and
// send besides the update, and what the server makes of it.

#ifndef FEDLB_CLIENT_ALGORITHM_H_
#define FEDLB_CLIENT_ALGORITHM_H_

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "absl/status/status.h"
#include "fedlb/client_state.h"
#include "fedlb/component.h"
#include "fedlb/export.h"
#include "fedlb/round_task.h"
#include "fedlb/tensor_list.h"

namespace fedlb {

// What the server knows when a round's updates are in.
struct RoundOutcome {
  int64_t round = 0;
  int64_t num_clients = 0;    // of the federation
  int64_t num_survivors = 0;  // whose updates were aggregated
  // Uniform means over the survivors of every group that AddToUpdate added.
  const TensorGroups* group_means = nullptr;
};

// The client half is const: one instance serves many threads, and what a
// client remembers is in its ClientState. The server half is called between
// rounds by one thread.
class FEDLB_API ClientAlgorithm : public Component {
 public:
  static constexpr char kKind[] = "client_algorithm";

  // Server, before the round: adds what clients need to task.aux and scalars.
  virtual absl::Status PrepareTask(RoundTask& /*task*/) {
    return absl::OkStatus();
  }

  // Client, before each forward pass: may change the labels of its batch, which
  // are 0 to num_classes - 1, in place.
  virtual absl::Status AdjustTargets(int64_t /*client*/,
                                     int64_t /*num_classes*/,
                                     at::Tensor& /*targets*/) const {
    return absl::OkStatus();
  }

  // Client, before each optimizer step: changes `gradient` in place. `weights`
  // are the local ones; the round's are in `task`.
  virtual absl::Status AdjustGradient(const RoundTask& /*task*/,
                                      const ClientState& /*state*/,
                                      const TensorList& /*weights*/,
                                      TensorList& /*gradient*/) const {
    return absl::OkStatus();
  }

  // Client, after its last step: may add groups to `update` (same names for
  // every client) and change the client's state.
  virtual absl::Status AddToUpdate(const RoundTask& /*task*/,
                                   const TensorList& /*weights*/,
                                   Update& /*update*/,
                                   ClientState& /*state*/) const {
    return absl::OkStatus();
  }

  // Server, after aggregation and before the gradient mapper: changes the
  // aggregate (a mean gradient, or a mean delta) in place.
  virtual absl::Status FinishRound(const RoundOutcome& /*outcome*/,
                                   TensorList& /*aggregate*/) {
    return absl::OkStatus();
  }

  // Bytes that one client keeps for a model of this layout.
  virtual int64_t BytesPerClient(const TensorLayout& /*layout*/) const {
    return 0;
  }
};

}  // namespace fedlb

#endif  // FEDLB_CLIENT_ALGORITHM_H_
