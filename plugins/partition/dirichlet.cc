#include "partition/dirichlet.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

#include "absl/strings/str_cat.h"
#include "fedlb/status.h"
#include "partition/class_pools.h"

namespace fedlb::partition {

ParamSchema<DirichletOptions> Dirichlet::Schema() {
  return ParamSchema<Options>()
      // The sum of larger gamma variables would overflow.
      .Add("alpha", &Options::alpha,
           "Concentration: small values give clients few classes and unequal "
           "sizes, large ones approach iid.",
           InLeftOpen(0, 1e6))
      .Add("min_examples", &Options::min_examples,
           "Smallest number of examples of a client; the draw is repeated "
           "until all have it.",
           AtLeast(1))
      .Add("balance", &Options::balance,
           "Give a class only to clients that have less than the average "
           "number of examples so far, so that sizes are less unequal.")
      .Add("max_tries", &Options::max_tries,
           "Number of draws before giving up on min_examples.",
           InClosed(1, 1e6));
}

absl::StatusOr<std::unique_ptr<Dirichlet>> Dirichlet::Create(
    const Options& options, const ComponentContext& context) {
  return std::unique_ptr<Dirichlet>(new Dirichlet(options, context.seed));
}

std::vector<std::vector<int64_t>> Dirichlet::DrawCounts(
    const std::vector<std::vector<int64_t>>& pools, int64_t num_examples,
    int64_t num_clients, RandomStream& stream) const {
  const auto clients = static_cast<size_t>(num_clients);
  std::vector<std::vector<int64_t>> counts;
  std::vector<int64_t> totals(clients, 0);
  for (const std::vector<int64_t>& pool : pools) {
    counts.emplace_back(clients, 0);
    if (pool.empty()) {
      continue;
    }
    // Examples remain to be dealt, so some client is below the average.
    std::vector<size_t> eligible;
    for (size_t client = 0; client < clients; ++client) {
      if (!options_.balance || totals[client] * num_clients < num_examples) {
        eligible.push_back(client);
      }
    }
    const std::vector<double> proportions =
        stream.Dirichlet(std::vector<double>(eligible.size(), options_.alpha));
    const auto pool_size = static_cast<int64_t>(pool.size());
    double cumulative = 0;
    int64_t begin = 0;
    for (size_t i = 0; i < eligible.size(); ++i) {
      cumulative += proportions[i];
      // The rounded sum may miss 1 at the end and pass it before.
      const int64_t end =
          i + 1 == eligible.size()
              ? pool_size
              : std::min(pool_size,
                         static_cast<int64_t>(std::floor(
                             cumulative * static_cast<double>(pool_size))));
      counts.back()[eligible[i]] = end - begin;
      totals[eligible[i]] += end - begin;
      begin = end;
    }
  }
  return counts;
}

absl::StatusOr<Partition> Dirichlet::DoDeal(absl::Span<const int64_t> indices,
                                            absl::Span<const int64_t> labels,
                                            int64_t num_classes,
                                            int64_t num_clients) {
  const auto num_examples = static_cast<int64_t>(indices.size());
  if (options_.min_examples > num_examples / num_clients) {
    return ConfigError(absl::StrCat(
        "partitioner.min_examples = ", options_.min_examples, " for ",
        num_clients, " clients is more than the ", num_examples,
        " training examples allow; lower it to ", num_examples / num_clients,
        " or less, or lower federation.clients"));
  }
  RandomStream shuffle({.seed = seed_, .purpose = "partition_dirichlet_order"});
  const std::vector<std::vector<int64_t>> pools =
      ShuffledClassPools(indices, labels, num_classes, shuffle);

  int64_t best = -1;  // the smallest share of the best draw
  for (int64_t attempt = 0; attempt < options_.max_tries; ++attempt) {
    RandomStream stream(
        {.seed = seed_, .purpose = "partition_dirichlet", .step = attempt});
    const std::vector<std::vector<int64_t>> counts =
        DrawCounts(pools, num_examples, num_clients, stream);
    std::vector<int64_t> totals(static_cast<size_t>(num_clients), 0);
    for (const std::vector<int64_t>& of_class : counts) {
      for (size_t client = 0; client < totals.size(); ++client) {
        totals[client] += of_class[client];
      }
    }
    best = std::max(best, *std::min_element(totals.begin(), totals.end()));
    if (best < options_.min_examples) {
      continue;
    }
    Partition partition(static_cast<size_t>(num_clients));
    for (size_t c = 0; c < pools.size(); ++c) {
      auto next = pools[c].begin();
      for (size_t client = 0; client < partition.size(); ++client) {
        const auto end = next + counts[c][client];
        partition[client].insert(partition[client].end(), next, end);
        next = end;
      }
    }
    ShuffleShares(partition, shuffle);
    return partition;
  }
  return ConfigError(absl::StrCat(
      "partitioner dirichlet: in ", options_.max_tries,
      " draws with alpha = ", options_.alpha, " some client of ", num_clients,
      " always had fewer than min_examples = ", options_.min_examples,
      " examples (at best ", best,
      "); raise partitioner.alpha, lower partitioner.min_examples or "
      "federation.clients",
      options_.balance ? "" : ", or set partitioner.balance = true"));
}

}  // namespace fedlb::partition
