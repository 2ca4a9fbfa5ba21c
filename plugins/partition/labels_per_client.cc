#include "partition/labels_per_client.h"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "fedlb/random.h"
#include "fedlb/status.h"
#include "partition/class_pools.h"

namespace fedlb::partition {

ParamSchema<LabelsPerClientOptions> LabelsPerClient::Schema() {
  return ParamSchema<Options>()
      .Add("labels_per_client", &Options::labels_per_client,
           "Number of classes that each client has examples of.", AtLeast(1))
      .AddChoice("assignment", &Options::assignment,
                 {{"random", LabelAssignment::kRandom},
                  {"cyclic", LabelAssignment::kCyclic}},
                 "Which classes a client gets: random ones, or the next ones "
                 "in the order of their numbers. Both give all classes the "
                 "same number of clients, or one more.");
}

absl::StatusOr<std::unique_ptr<LabelsPerClient>> LabelsPerClient::Create(
    const Options& options, const ComponentContext& context) {
  return std::unique_ptr<LabelsPerClient>(
      new LabelsPerClient(options, context));
}

// Clients draw their labels from a deck that holds each label once and is
// replaced when it is empty: after any number of draws the labels' counts
// differ by at most one. A client whose draws span two decks must not meet a
// label twice, so the second deck begins with labels that it does not hold.
std::vector<std::vector<int64_t>> LabelsPerClient::AssignOwners(
    int64_t num_labels, int64_t num_clients) const {
  RandomStream stream({.seed = seed_, .purpose = "partition_label_owners"});
  std::vector<int64_t> deck;
  auto next = deck.begin();
  const auto refill = [&](const std::vector<int64_t>& held) {
    deck.resize(static_cast<size_t>(num_labels));
    std::iota(deck.begin(), deck.end(), 0);
    if (options_.assignment == LabelAssignment::kRandom) {
      stream.Shuffle(absl::MakeSpan(deck));
      const auto missing =
          static_cast<size_t>(options_.labels_per_client) - held.size();
      std::stable_partition(deck.begin(), deck.end(), [&](int64_t label) {
        return std::find(held.begin(), held.end(), label) == held.end();
      });
      // What is held must come late enough, not last.
      stream.Shuffle(absl::MakeSpan(deck).subspan(missing));
    }
    next = deck.begin();
  };

  std::vector<std::vector<int64_t>> owners(static_cast<size_t>(num_labels));
  std::vector<int64_t> held;
  for (int64_t client = 0; client < num_clients; ++client) {
    held.clear();
    while (static_cast<int64_t>(held.size()) < options_.labels_per_client) {
      if (next == deck.end()) {
        refill(held);
      }
      held.push_back(*next++);
      owners[static_cast<size_t>(held.back())].push_back(client);
    }
  }
  return owners;
}

absl::StatusOr<Partition> LabelsPerClient::DoDeal(
    absl::Span<const int64_t> indices, absl::Span<const int64_t> labels,
    int64_t num_classes, int64_t num_clients) {
  RandomStream stream({.seed = seed_, .purpose = "partition_labels"});
  std::vector<std::vector<int64_t>> pools =
      ShuffledClassPools(indices, labels, num_classes, stream);
  std::vector<int64_t> classes;  // those that occur
  for (int64_t c = 0; c < num_classes; ++c) {
    if (!pools[static_cast<size_t>(c)].empty()) {
      classes.push_back(c);
    }
  }
  const auto num_labels = static_cast<int64_t>(classes.size());
  if (options_.labels_per_client > num_labels) {
    return ConfigError(absl::StrCat(
        "partitioner.labels_per_client = ", options_.labels_per_client,
        " is more than the ", num_labels,
        " classes of the training examples; lower it"));
  }

  std::vector<std::vector<int64_t>> owners =
      AssignOwners(num_labels, num_clients);
  Partition partition(static_cast<size_t>(num_clients));
  std::vector<int64_t> left_out;
  for (size_t i = 0; i < owners.size(); ++i) {
    const int64_t label = classes[i];
    const std::vector<int64_t>& pool = pools[static_cast<size_t>(label)];
    if (owners[i].empty()) {
      left_out.push_back(label);
      continue;
    }
    const size_t num_owners = owners[i].size();
    if (num_owners > pool.size()) {
      return ConfigError(absl::StrCat(
          "class ", label, " has ", pool.size(), " training examples for ",
          num_owners,
          " clients; lower partitioner.labels_per_client or "
          "federation.clients, or use more data (dataset.limit_train)"));
    }
    // The larger parts must not always go to the clients with low numbers.
    stream.Shuffle(absl::MakeSpan(owners[i]));
    auto next = pool.begin();
    for (size_t j = 0; j < num_owners; ++j) {
      const size_t part =
          pool.size() / num_owners + (j < pool.size() % num_owners ? 1 : 0);
      const auto end = next + static_cast<int64_t>(part);
      std::vector<int64_t>& share =
          partition[static_cast<size_t>(owners[i][j])];
      share.insert(share.end(), next, end);
      next = end;
    }
  }
  if (!left_out.empty()) {
    logger_.Warning(absl::StrCat(
        "partitioner labels_per_client: ", num_clients, " clients with ",
        options_.labels_per_client, " classes each leave out ", left_out.size(),
        " of ", num_labels, " classes (", absl::StrJoin(left_out, ", "),
        "); raise partitioner.labels_per_client or federation.clients"));
  }
  ShuffleShares(partition, stream);
  return partition;
}

}  // namespace fedlb::partition
