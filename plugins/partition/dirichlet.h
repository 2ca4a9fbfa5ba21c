// The partitioner `dirichlet`: clients with random mixtures of the classes.

#ifndef FEDLB_PARTITION_DIRICHLET_H_
#define FEDLB_PARTITION_DIRICHLET_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "fedlb/param_schema.h"
#include "fedlb/partitioner.h"
#include "fedlb/random.h"

namespace fedlb::partition {

struct DirichletOptions {
  double alpha = 0.3;
  int64_t min_examples = 10;
  bool balance = false;
  int64_t max_tries = 100;
};

// M. Yurochkin et al., "Bayesian Nonparametric Federated Learning of Neural
// Networks", ICML 2019: the examples of every class are split over the N
// clients in proportions drawn from Dir_N(alpha). Every example is used.
//
// The whole draw is repeated until each client has `min_examples`. With
// `balance` a class goes only to clients that have less than the average number
// of examples so far; a Dirichlet variable cut down to some of its coordinates
// and renormalised is Dirichlet again, so the proportions are drawn for those
// clients at once, and there is nothing to renormalise that could be zero.
class Dirichlet final : public Partitioner {
 public:
  using Options = DirichletOptions;
  static constexpr char kName[] = "dirichlet";
  static constexpr char kSummary[] =
      "Each class split over the clients in Dirichlet proportions.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Dirichlet>> Create(
      const Options& options, const ComponentContext& context);

 private:
  Dirichlet(const Options& options, uint64_t seed)
      : options_(options), seed_(seed) {}

  absl::StatusOr<Partition> DoDeal(absl::Span<const int64_t> indices,
                                   absl::Span<const int64_t> labels,
                                   int64_t num_classes,
                                   int64_t num_clients) override;

  // How many examples of each class each client gets: counts[class][client].
  std::vector<std::vector<int64_t>> DrawCounts(
      const std::vector<std::vector<int64_t>>& pools, int64_t num_examples,
      int64_t num_clients, RandomStream& stream) const;

  const Options options_;
  const uint64_t seed_;
};

}  // namespace fedlb::partition

#endif  // FEDLB_PARTITION_DIRICHLET_H_
