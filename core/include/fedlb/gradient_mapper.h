// Maps a gradient before the optimizer uses it.

#ifndef FEDLB_GRADIENT_MAPPER_H_
#define FEDLB_GRADIENT_MAPPER_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "fedlb/component.h"
#include "fedlb/export.h"
#include "fedlb/optimizer.h"
#include "fedlb/tensor_list.h"

namespace fedlb {

// Where in the run a gradient was taken, and what is known of it.
struct StepContext {
  int64_t step = 0;   // optimizer steps before this one
  int64_t round = 0;
  double epoch = 0;   // passes over the training data so far
  double lr = 0;
  int64_t batch_size = 0;  // examples behind the gradient
  // From the critical-phase detector, for the gradient as it came in.
  bool critical = false;
  double gradient_change = 0;  // Delta(g), Eq 8
  // Means over disjoint groups of the examples behind the gradient, for mappers
  // that ask for them: a client's accumulation steps or, on the server, the
  // cohort's updates in up to kMaxPartialMeans groups. Otherwise empty.
  std::vector<TensorList> partial_means;
};

inline constexpr int64_t kMaxPartialMeans = 8;

// One instance belongs to one thread: the server, or one worker that plays many
// clients. With client scope its state is a read-only snapshot which the server
// broadcasts at the start of a round (SaveState there, LoadState on the client)
// and changes between rounds only, in ObserveAggregate.
class FEDLB_API GradientMapper : public Component {
 public:
  static constexpr char kKind[] = "gradient_mapper";

  // Maps `gradient` in place.
  //
  // kInvalidArgument: an empty gradient, or partial means missing that were
  // asked for.
  absl::Status Map(const StepContext& context, TensorList& gradient);

  // Numbers about the last Map for the log: "gain" is the factor applied.
  virtual ScalarMap Report() const { return {}; }

  virtual bool NeedsPartialMeans() const { return false; }
  // Whether Map depends on the phase of its context.
  virtual bool ReadsCriticalPhase() const { return false; }

  // Server, between rounds, when the scope is client: learns from the
  // aggregate of the round.
  virtual absl::Status ObserveAggregate(const StepContext& /*context*/,
                                        const TensorList& /*aggregate*/) {
    return absl::OkStatus();
  }

  // Refuses (kConfig) or warns about an optimizer that undoes the mapping.
  virtual absl::Status CheckOptimizer(const OptimizerTraits& /*traits*/,
                                      Logger& /*logger*/) const {
    return absl::OkStatus();
  }

 private:
  virtual absl::Status DoMap(const StepContext& context,
                             TensorList& gradient) = 0;
};

}  // namespace fedlb

#endif  // FEDLB_GRADIENT_MAPPER_H_
