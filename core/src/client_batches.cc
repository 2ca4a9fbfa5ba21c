#include "client_batches.h"

#include <algorithm>
#include <cmath>

namespace fedlb {

RandomKey ShuffleKey(uint64_t seed, int64_t client, int64_t epoch) {
  return {.seed = seed, .purpose = "shuffle", .client = client, .step = epoch};
}

ClientBatches::ClientBatches(uint64_t seed, int64_t client,
                             absl::Span<const int64_t> examples,
                             int64_t batch_size)
    : seed_(seed),
      client_(client),
      examples_(examples),
      batch_size_(
          std::min(batch_size, static_cast<int64_t>(examples.size()))) {}

std::vector<int64_t> ClientBatches::Next(ClientState& state,
                                         RandomKey* epoch_key) const {
  const auto count = static_cast<int64_t>(examples_.size());
  *epoch_key = ShuffleKey(seed_, client_, state.epoch);
  const ShuffledOrder order(*epoch_key, count);
  const int64_t end = std::min(count, state.cursor + batch_size_);
  std::vector<int64_t> indices;
  indices.reserve(static_cast<size_t>(end - state.cursor));
  for (int64_t position = state.cursor; position < end; ++position) {
    indices.push_back(examples_[static_cast<size_t>(order[position])]);
  }
  state.cursor = end;
  if (state.cursor == count) {
    ++state.epoch;
    state.cursor = 0;
  }
  return indices;
}

int64_t ClientBatches::batches_per_epoch() const {
  const auto count = static_cast<int64_t>(examples_.size());
  return (count + batch_size_ - 1) / batch_size_;
}

int64_t LocalStepsOf(const RoundWork& work, const ClientBatches& batches) {
  if (work.kind == RoundWork::Kind::kGradient) {
    return 1;
  }
  if (work.local_steps > 0) {
    return work.local_steps;
  }
  const double steps =
      work.local_epochs * static_cast<double>(batches.batches_per_epoch());
  return std::max<int64_t>(1, std::llround(steps));
}

}  // namespace fedlb
