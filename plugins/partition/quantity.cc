#include "partition/quantity.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "absl/strings/str_cat.h"
#include "fedlb/random.h"
#include "fedlb/status.h"

namespace fedlb::partition {
namespace {

// exp(sigma z_k), up to a common factor that keeps the largest at 1.
std::vector<double> DrawWeights(double sigma, size_t num_clients,
                                RandomStream& stream) {
  std::vector<double> weights;
  for (size_t client = 0; client < num_clients; ++client) {
    weights.push_back(sigma * stream.Normal());
  }
  const double largest = *std::max_element(weights.begin(), weights.end());
  for (double& weight : weights) {
    weight = std::exp(weight - largest);
  }
  return weights;
}

}  // namespace

ParamSchema<QuantityOptions> Quantity::Schema() {
  return ParamSchema<Options>()
      .Add("sigma", &Options::sigma,
           "Standard deviation of the logarithm of the clients' sizes; 0 makes "
           "them equal, up to one example.",
           InClosed(0, 100))
      .Add("min_examples", &Options::min_examples,
           "Examples that every client gets before the rest is dealt out.",
           AtLeast(1));
}

absl::StatusOr<std::unique_ptr<Quantity>> Quantity::Create(
    const Options& options, const ComponentContext& context) {
  return std::unique_ptr<Quantity>(new Quantity(options, context.seed));
}

absl::StatusOr<Partition> Quantity::DoDeal(absl::Span<const int64_t> indices,
                                           absl::Span<const int64_t> /*labels*/,
                                           int64_t /*num_classes*/,
                                           int64_t num_clients) {
  const auto num_examples = static_cast<int64_t>(indices.size());
  const int64_t most = num_examples / num_clients;
  if (options_.min_examples > most) {
    return ConfigError(
        absl::StrCat("partitioner.min_examples = ", options_.min_examples,
                     " for ", num_clients, " clients is more than the ",
                     num_examples, " training examples allow; lower it to ",
                     most, " or less, or lower federation.clients"));
  }
  RandomStream stream({.seed = seed_, .purpose = "partition_quantity"});
  const std::vector<double> weights =
      DrawWeights(options_.sigma, static_cast<size_t>(num_clients), stream);
  double total = 0;
  for (const double weight : weights) {
    total += weight;
  }
  std::vector<int64_t> deck(indices.begin(), indices.end());
  stream.Shuffle(absl::MakeSpan(deck));

  const int64_t rest = num_examples - num_clients * options_.min_examples;
  Partition partition(weights.size());
  double cumulative = 0;
  int64_t dealt = 0;  // of the rest
  auto next = deck.begin();
  for (size_t client = 0; client < weights.size(); ++client) {
    cumulative += weights[client];
    // Cutting the running sum makes the parts add up to the rest.
    const int64_t until =
        client + 1 == weights.size()
            ? rest
            : std::min(rest,
                       static_cast<int64_t>(std::floor(
                           cumulative * static_cast<double>(rest) / total)));
    const auto end = next + options_.min_examples + until - dealt;
    partition[client].assign(next, end);
    dealt = until;
    next = end;
  }
  return partition;
}

}  // namespace fedlb::partition
