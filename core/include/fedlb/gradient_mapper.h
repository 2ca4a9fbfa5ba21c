// Maps a gradient before the optimizer uses it.

#ifndef FEDLB_GRADIENT_MAPPER_H_
#define FEDLB_GRADIENT_MAPPER_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "fedlb/component.h"
#include "fedlb/config_table.h"
#include "fedlb/export.h"
#include "fedlb/optimizer.h"
#include "fedlb/tensor_list.h"

namespace fedlb {

// Where in the run a gradient was taken, and what is known of it.
struct StepContext {
  int64_t step = 0;   // optimizer steps before this one
  int64_t round = 0;
  int64_t client = -1;  // whose gradient it is; -1 on the server
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
  // False on a client, whose mapper is a snapshot: Map must not change what
  // later calls of Map depend on.
  bool may_learn = true;
};

inline constexpr int64_t kMaxPartialMeans = 16;

// What a mapper may ask a client for before a round: see
// RoundWork::Kind::kDisplacement.
struct DisplacementRequest {
  int64_t small_batch_size = 0;
  int64_t small_steps = 0;
  bool reorder = false;
};

// The answer, of one client.
struct DisplacementPair {
  TensorList gradient;      // of all examples, at the round's weights
  TensorList displacement;  // of the small steps over them, over lr
  TensorList reordered;     // the same in another order; empty if not asked for
  int64_t small_steps = 1;
};

// One instance belongs to one thread: the server, or one worker that plays many
// clients. With client scope its state is a read-only snapshot which the server
// broadcasts at the start of a round (SaveState there, LoadState on the client)
// and changes between rounds only, in ObserveAggregate.
class FEDLB_API GradientMapper : public Component {
 public:
  static constexpr char kKind[] = "gradient_mapper";

  // Called once, before any other call, with the layout of the gradients. What
  // does not fit the model ends the run here.
  virtual absl::Status Prepare(const TensorLayout& /*layout*/) {
    return absl::OkStatus();
  }

  // Called after Prepare on the server's copy of a run that begins, and not on
  // one that is resumed, planned or played by a client: the place to learn from
  // files.
  virtual absl::Status WarmStart() { return absl::OkStatus(); }

  // Maps `gradient` in place.
  //
  // kInvalidArgument: an empty gradient, or partial means missing that were
  // asked for.
  absl::Status Map(const StepContext& context, TensorList& gradient);

  // Numbers about the last Map for the log: "gain" is the factor applied.
  virtual ScalarMap Report() const { return {}; }

  virtual bool NeedsPartialMeans() const { return false; }
  // With client scope: whether ObserveAggregate learns from the partial means of
  // kUnmappedGradientGroup, one more model in every update.
  virtual bool LearnsFromAggregate() const { return false; }
  // Whether WantsDisplacement may ever ask for a pair.
  virtual bool AsksForPairs() const { return false; }
  // Whether Map depends on the phase of its context.
  virtual bool ReadsCriticalPhase() const { return false; }

  // Server, between rounds, when the scope is client: learns from the
  // aggregate of the round (a delta as a pseudo-gradient, minus the delta). The
  // context's partial means are those of kUnmappedGradientGroup.
  virtual absl::Status ObserveAggregate(const StepContext& /*context*/,
                                        const TensorList& /*aggregate*/) {
    return absl::OkStatus();
  }

  // Server scope, before a round of gradients: what the mapper wants to learn
  // from, or nullopt. The context is the round's as far as it is known.
  virtual std::optional<DisplacementRequest> WantsDisplacement(
      const StepContext& /*context*/) const {
    return std::nullopt;
  }
  virtual absl::Status ObserveDisplacement(const StepContext& /*context*/,
                                           const DisplacementPair& /*pair*/) {
    return absl::OkStatus();
  }

  // The table [gradient_mapper] that makes this mapper, learning aside, again.
  virtual ConfigTable FileOptions(const ConfigTable& given) const {
    return given;
  }

  // Numbers about the run so far for its summary, such as "heldout.cosine".
  virtual ScalarMap Summary() const { return {}; }

  // Bytes that the mapper keeps for weights of this layout.
  virtual int64_t StateBytes(const TensorLayout& /*layout*/) const { return 0; }

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
