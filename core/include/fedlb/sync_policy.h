// How much local work a round asks for.

#ifndef FEDLB_SYNC_POLICY_H_
#define FEDLB_SYNC_POLICY_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "fedlb/component.h"
#include "fedlb/export.h"
#include "fedlb/round_task.h"

namespace fedlb {

class FEDLB_API SyncPolicy : public Component {
 public:
  static constexpr char kKind[] = "sync_policy";

  virtual RoundWork Plan(int64_t round) const = 0;

  // Whether clients keep weights of their own from one round to the next, which
  // takes the memory of a model for each client. Plan then sets base_round.
  virtual bool KeepsClientWeights() const { return false; }

  // Client of a round with base_round: whether its weights should be averaged
  // with the others'. `gradient_change` is Delta(g) of its last local step, NaN
  // while there is none. Thread-safe.
  virtual bool Votes(double /*gradient_change*/) const { return true; }

  // Server, after such a round: whether its aggregate is applied, so that all
  // clients begin with the server's weights again. `votes` is the share of
  // clients that voted for it, by examples.
  virtual absl::StatusOr<bool> CloseRound(int64_t /*round*/,
                                          double /*votes*/) {
    return true;
  }
};

}  // namespace fedlb

#endif  // FEDLB_SYNC_POLICY_H_
