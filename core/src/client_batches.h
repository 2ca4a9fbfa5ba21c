// Which of its examples a client trains on next.

#ifndef FEDLB_CLIENT_BATCHES_H_
#define FEDLB_CLIENT_BATCHES_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "fedlb/client_state.h"
#include "fedlb/export.h"
#include "fedlb/random.h"
#include "fedlb/round_task.h"

namespace fedlb {

// The key of the order in which `client` walks through its examples in pass
// number `epoch`; augmentations use it too.
FEDLB_API RandomKey ShuffleKey(uint64_t seed, int64_t client, int64_t epoch);

// Walks a client's examples in passes, each in a random order of its own. The
// last batch of a pass may be smaller. The place in the walk is in the
// client's state, so that batches go on where the last round ended.
class FEDLB_API ClientBatches {
 public:
  // `examples` outlives the walk and is not empty.
  ClientBatches(uint64_t seed, int64_t client,
                absl::Span<const int64_t> examples, int64_t batch_size);

  // Indices of the next batch, and the key of the pass it belongs to.
  std::vector<int64_t> Next(ClientState& state, RandomKey* epoch_key) const;

  int64_t batches_per_epoch() const;

 private:
  const uint64_t seed_;
  const int64_t client_;
  const absl::Span<const int64_t> examples_;
  const int64_t batch_size_;
};

// Optimizer steps that `work` asks of the client that walks `batches`; 1 when it
// asks for a gradient.
FEDLB_API int64_t LocalStepsOf(const RoundWork& work,
                               const ClientBatches& batches);

}  // namespace fedlb

#endif  // FEDLB_CLIENT_BATCHES_H_
