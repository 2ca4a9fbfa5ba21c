// A mean that hides whether one client took part.

#ifndef FEDLB_PLUGINS_AGGREGATION_DP_MEAN_H_
#define FEDLB_PLUGINS_AGGREGATION_DP_MEAN_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/aggregator.h"
#include "fedlb/param_schema.h"
#include "fedlb/weighted_mean.h"

namespace fedlb::aggregation {

struct DpMeanOptions {
  double max_norm = 1;
  double noise_multiplier = 1;
  double sampling_rate = 1;
  double delta = 1e-5;
};

// H. B. McMahan et al., "Learning Differentially Private Recurrent Language
// Models", ICLR 2018, with fixed clipping: n clients' updates d_k become
//   (sum_k d_k min(1, max_norm / |d_k|) + N(0, (noise_multiplier
//   max_norm)^2))/n.
//
// What it is: differential privacy of whole clients, central (the server sees
// every update as it is), for whoever sees the weights of all rounds. What it
// covers: parameters, not buffers such as running means, nor metrics. What the
// epsilon of Report() supposes: clients take part at random, each on its own
// and with probability `sampling_rate` (1: in every round), and the seed of the
// run stays secret. Samplers with a
// fixed cohort come close to that, no more. As n is the number of updates that
// came, and not the expected one, that number counts as known.
class DpMean final : public Aggregator {
 public:
  using Options = DpMeanOptions;
  static constexpr char kName[] = "dp_mean";
  static constexpr char kSummary[] =
      "Mean of clipped updates with normal noise, and what it costs in "
      "privacy.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<DpMean>> Create(
      const Options& options, const ComponentContext& context);

  // `epsilon` after the rounds so far, `clipped` as a share of the last round's
  // updates.
  ScalarMap Report() const override;
  ComponentState SaveState() const override;
  absl::Status LoadState(const ComponentState& state) override;

 private:
  DpMean(const Options& options, uint64_t seed)
      : options_(options), seed_(seed) {}

  absl::Status DoBegin(const TensorLayout& layout) override;
  absl::Status DoAdd(const Update& update) override;
  absl::StatusOr<TensorList> DoFinish() override;

  const Options options_;
  const uint64_t seed_;
  int64_t rounds_ = 0;  // that ended
  WeightedMean sums_;
  int64_t clipped_ = 0;
  double clipped_share_ = 0;
};

}  // namespace fedlb::aggregation

#endif  // FEDLB_PLUGINS_AGGREGATION_DP_MEAN_H_
