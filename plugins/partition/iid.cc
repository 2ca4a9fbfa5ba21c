#include "partition/iid.h"

#include <vector>

#include "fedlb/random.h"

namespace fedlb::partition {

ParamSchema<IidOptions> Iid::Schema() { return {}; }

absl::StatusOr<std::unique_ptr<Iid>> Iid::Create(
    const Options& /*options*/, const ComponentContext& context) {
  return std::unique_ptr<Iid>(new Iid(context.seed));
}

absl::StatusOr<Partition> Iid::DoDeal(absl::Span<const int64_t> indices,
                                      absl::Span<const int64_t> /*labels*/,
                                      int64_t /*num_classes*/,
                                      int64_t num_clients) {
  std::vector<int64_t> deck(indices.begin(), indices.end());
  RandomStream({.seed = seed_, .purpose = "partition_iid"})
      .Shuffle(absl::MakeSpan(deck));

  const auto clients = static_cast<size_t>(num_clients);
  Partition partition(clients);
  auto next = deck.begin();
  for (size_t client = 0; client < clients; ++client) {
    const size_t share =
        deck.size() / clients + (client < deck.size() % clients ? 1 : 0);
    const auto end = next + static_cast<int64_t>(share);
    partition[client].assign(next, end);
    next = end;
  }
  return partition;
}

}  // namespace fedlb::partition
