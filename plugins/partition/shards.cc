#include "partition/shards.h"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <vector>

#include "absl/strings/str_cat.h"
#include "fedlb/random.h"
#include "fedlb/status.h"
#include "partition/class_pools.h"

namespace fedlb::partition {

ParamSchema<ShardsOptions> Shards::Schema() {
  return ParamSchema<Options>().Add(
      "shards_per_client", &Options::shards_per_client,
      "Shards of each client; the fewer, the fewer labels a client has.",
      AtLeast(1));
}

absl::StatusOr<std::unique_ptr<Shards>> Shards::Create(
    const Options& options, const ComponentContext& context) {
  return std::unique_ptr<Shards>(new Shards(options, context.seed));
}

absl::StatusOr<Partition> Shards::DoDeal(absl::Span<const int64_t> indices,
                                         absl::Span<const int64_t> labels,
                                         int64_t num_classes,
                                         int64_t num_clients) {
  // Divided, because the product may overflow.
  const auto most = static_cast<int64_t>(indices.size()) / num_clients;
  if (options_.shards_per_client > most) {
    return ConfigError(absl::StrCat(
        "partitioner.shards_per_client = ", options_.shards_per_client, " for ",
        num_clients, " clients makes more shards than the ", indices.size(),
        " training examples; lower it to ", most,
        " or less, or lower federation.clients"));
  }
  RandomStream stream({.seed = seed_, .purpose = "partition_shards"});
  std::vector<int64_t> deck;  // sorted by label
  deck.reserve(indices.size());
  for (const std::vector<int64_t>& pool :
       ShuffledClassPools(indices, labels, num_classes, stream)) {
    deck.insert(deck.end(), pool.begin(), pool.end());
  }

  const auto per_client = static_cast<size_t>(options_.shards_per_client);
  std::vector<size_t> shards(per_client * static_cast<size_t>(num_clients));
  std::iota(shards.begin(), shards.end(), 0);
  stream.Shuffle(absl::MakeSpan(shards));
  // The first of the shards get the examples that do not divide.
  const size_t size = deck.size() / shards.size();
  const size_t larger = deck.size() % shards.size();
  const auto begin_of = [&](size_t shard) {
    return deck.begin() +
           static_cast<int64_t>(shard * size + std::min(shard, larger));
  };
  Partition partition(static_cast<size_t>(num_clients));
  for (size_t i = 0; i < shards.size(); ++i) {
    std::vector<int64_t>& share = partition[i / per_client];
    share.insert(share.end(), begin_of(shards[i]), begin_of(shards[i] + 1));
  }
  ShuffleShares(partition, stream);
  return partition;
}

}  // namespace fedlb::partition
