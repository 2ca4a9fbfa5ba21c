// What the server asks of the clients of a round, and what they answer.

#ifndef FEDLB_ROUND_TASK_H_
#define FEDLB_ROUND_TASK_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "fedlb/component.h"
#include "fedlb/export.h"
#include "fedlb/tensor_list.h"

namespace fedlb {

// How much a client does before it answers.
struct RoundWork {
  enum class Kind {
    kGradient,    // the gradient of one batch at the round's weights (BSP)
    kLocalSteps,  // optimizer steps from the round's weights (FedAvg)
    // Both at once, for a teacher: the gradient of local_steps batches together
    // at the round's weights, and where local_steps plain SGD steps lead, one
    // over each of these batches. The client's state stays as it is.
    kDisplacement,
  };
  Kind kind = Kind::kGradient;
  // With kLocalSteps one of the two is positive: steps, or passes over the
  // client's examples. With kDisplacement the number of steps.
  int64_t local_steps = 0;
  double local_epochs = 0;
  // With kLocalSteps and a value of 0 or more, a client whose own weights began
  // with the server's of this round goes on from its own; all other clients,
  // and all with -1, begin with the task's.
  int64_t base_round = -1;
  // With kDisplacement: whether to answer with kReorderedGroup, too.
  bool reorder = false;
};

// The same for every client of the round.
struct RoundTask {
  int64_t round = 0;
  RoundWork work;
  double lr = 0;       // of the local steps
  TensorList weights;  // in the order of the model's parameters
  TensorList buffers;
  // What the client algorithm and a client-scope gradient mapper broadcast;
  // names begin with "client_algorithm." or "gradient_mapper.".
  TensorGroups aux;
  ScalarMap scalars;
};

// What differs between the clients of a round.
struct ClientAssignment {
  int64_t client = 0;
  int64_t batch_size = 0;
};

// One client's answer to a task.
struct Update {
  enum class Kind {
    kGradient,  // mean gradient over num_examples
    kDelta,     // w_client - w_round after local_steps steps
  };
  Kind kind = Kind::kGradient;
  int64_t round = 0;
  int64_t client = 0;
  // What the update weighs in a mean: the examples behind a gradient, or the
  // examples that the client holds.
  int64_t num_examples = 0;
  int64_t local_steps = 0;
  // Examples whose gradient was taken, with repetitions.
  int64_t num_samples = 0;
  // kParametersGroup, kBuffersGroup when the model has buffers,
  // kUnmappedGradientGroup when a client-scope mapper asks for partial means,
  // and whatever the client algorithm adds.
  TensorGroups groups;
  ScalarMap scalars;

  const TensorList& parameters() const { return groups.at("parameters"); }
  TensorList& parameters() { return groups.at("parameters"); }
};

inline constexpr char kParametersGroup[] = "parameters";
inline constexpr char kBuffersGroup[] = "buffers";
// The answers to kDisplacement beside the gradient: (w_0 - w_K) / lr after the K
// steps, and the same with the examples dealt to the batches in another order.
inline constexpr char kDisplacementGroup[] = "displacement";
inline constexpr char kReorderedGroup[] = "displacement_reordered";
// The mean over the local steps of the gradients that the mapper was given.
inline constexpr char kUnmappedGradientGroup[] = "unmapped_gradient";
// The scalar of an update with a client's vote for synchronisation, 0 or 1.
inline constexpr char kSyncVote[] = "sync_vote";

// The bytes of a task or an update as they travel and lie in files: a
// safetensors file whose metadata carries everything that is not a tensor and
// whose tensors are named "<group>/<index>". Tensors are copied. Decoding
// checks the structure, never trusts a length, and ends with kDataLoss naming
// the check that failed.
FEDLB_API absl::StatusOr<std::string> EncodeTask(const RoundTask& task);
FEDLB_API absl::StatusOr<RoundTask> DecodeTask(absl::string_view bytes);
FEDLB_API absl::StatusOr<std::string> EncodeUpdate(const Update& update);
FEDLB_API absl::StatusOr<Update> DecodeUpdate(absl::string_view bytes);

}  // namespace fedlb

#endif  // FEDLB_ROUND_TASK_H_
