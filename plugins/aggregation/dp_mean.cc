#include "aggregation/dp_mean.h"

#include <cmath>
#include <vector>

#include <ATen/core/Tensor.h>

#include "aggregation/rdp_accountant.h"
#include "fedlb/random.h"
#include "fedlb/round_task.h"
#include "fedlb/tensor_list.h"

namespace fedlb::aggregation {
namespace {

constexpr char kRounds[] = "rounds";

}  // namespace

ParamSchema<DpMeanOptions> DpMean::Schema() {
  return ParamSchema<Options>()
      .Add("max_norm", &Options::max_norm,
           "The L2 norm to which longer updates are scaled down.",
           GreaterThan(0))
      .Add("noise_multiplier", &Options::noise_multiplier,
           "Standard deviation of the noise on the sum, in max_norm.",
           AtLeast(0))
      .Add("sampling_rate", &Options::sampling_rate,
           "Probability that a client takes part in a round, for the "
           "accountant; 1 is safe whatever the sampler does.",
           InLeftOpen(0, 1))
      .Add("delta", &Options::delta,
           "The delta that epsilon is told for; well below one over the number "
           "of clients.",
           InOpen(0, 1));
}

absl::StatusOr<std::unique_ptr<DpMean>> DpMean::Create(
    const Options& options, const ComponentContext& context) {
  return std::unique_ptr<DpMean>(new DpMean(options, context.seed));
}

ScalarMap DpMean::Report() const {
  return {
      {"epsilon", EpsilonOf(options_.noise_multiplier, options_.sampling_rate,
                            rounds_, options_.delta)},
      {"clipped", clipped_share_}};
}

ComponentState DpMean::SaveState() const {
  return {.scalars = {{kRounds, static_cast<double>(rounds_)}}};
}

absl::Status DpMean::LoadState(const ComponentState& state) {
  const auto rounds = state.scalars.find(kRounds);
  if (rounds == state.scalars.end() || !(rounds->second >= 0)) {
    return absl::InvalidArgumentError("dp_mean: no state of dp_mean");
  }
  rounds_ = static_cast<int64_t>(rounds->second);
  return absl::OkStatus();
}

absl::Status DpMean::DoBegin(const TensorLayout& layout) {
  sums_.Begin(layout);
  clipped_ = 0;
  return absl::OkStatus();
}

absl::Status DpMean::DoAdd(const Update& update) {
  const double norm = std::sqrt(SquaredNorm(update.parameters()));
  const bool clips = norm > options_.max_norm;
  sums_.Add(update.parameters(), clips ? options_.max_norm / norm : 1);
  clipped_ += clips ? 1 : 0;
  return absl::OkStatus();
}

absl::StatusOr<TensorList> DpMean::DoFinish() {
  const auto count = static_cast<double>(num_added());
  TensorList mean = sums_.Quotient(count);
  const double deviation =
      options_.noise_multiplier * options_.max_norm / count;
  RandomStream random({.seed = seed_, .purpose = "dp_noise", .round = rounds_});
  for (at::Tensor& tensor : mean) {
    std::vector<double> noise(static_cast<size_t>(tensor.numel()));
    for (double& value : noise) {
      value = deviation * random.Normal();
    }
    tensor.add_(ToTensor(noise).reshape(tensor.sizes()));
  }
  ++rounds_;
  clipped_share_ = static_cast<double>(clipped_) / count;
  return mean;
}

}  // namespace fedlb::aggregation
