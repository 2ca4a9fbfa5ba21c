// Which batch size each client uses.

#ifndef FEDLB_BATCH_POLICY_H_
#define FEDLB_BATCH_POLICY_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/component.h"
#include "fedlb/export.h"

namespace fedlb {

struct ClientTiming {
  int64_t client = 0;
  int64_t samples = 0;  // examples whose gradient was taken
  double seconds = 0;
};

class FEDLB_API BatchPolicy : public Component {
 public:
  static constexpr char kKind[] = "batch_policy";

  // Examples per local step of `client` in `round`, at least 1.
  absl::StatusOr<int64_t> BatchSize(int64_t round, int64_t client);

  // Whether the metrics of `round` should hold "curvature", the largest
  // eigenvalue of the Hessian of the loss over one client's batch at the
  // weights that the round begins with. It takes some gradients of one client.
  virtual bool WantsCurvature(int64_t /*round*/) const { return false; }

  // Called after each round for every client whose update counted, in the order
  // of the cohort: what it did with and how long it took, on the clock of
  // [simulation] where there is one, and as it was measured otherwise.
  virtual void ObserveClient(const ClientTiming& /*timing*/) {}

  // Called after each round, and after ObserveClient, with what was measured in it (the scalars of
  // metrics.jsonl). Adaptive policies change their mind here.
  virtual absl::Status ObserveRound(int64_t /*round*/,
                                    const ScalarMap& /*metrics*/) {
    return absl::OkStatus();
  }

 private:
  virtual absl::StatusOr<int64_t> DoBatchSize(int64_t round,
                                              int64_t client) = 0;
};

}  // namespace fedlb

#endif  // FEDLB_BATCH_POLICY_H_
