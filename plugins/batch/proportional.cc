#include "batch/proportional.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "batch/size_bounds.h"
#include "fedlb/status.h"
#include "fedlb/tensor_list.h"

namespace fedlb::batch {
ParamSchema<ProportionalOptions> Proportional::Schema() {
  return ParamSchema<Options>()
      .Add("batch_size", &Options::batch_size,
           "The mean over clients, and the size all begin with.", AtLeast(1))
      .Add("min_batch_size", &Options::min_batch_size, kMinBatchSizeHelp,
           AtLeast(1))
      .Add("max_batch_size", &Options::max_batch_size, kMaxBatchSizeHelp,
           AtLeast(1))
      .Add("smoothing", &Options::smoothing,
           "What an earlier time weighs against a new one.", InHalfOpen(0, 1))
      .Add("dead_band", &Options::dead_band,
           "Times within this share of their mean change nothing.", AtLeast(0))
      .Check(CheckSizeBounds<ProportionalOptions>);
}

Proportional::Proportional(const Options& options, int64_t num_clients)
    : options_(options),
      batch_sizes_(static_cast<size_t>(num_clients),
                   static_cast<double>(options.batch_size)),
      seconds_(static_cast<size_t>(num_clients)) {}

absl::StatusOr<std::unique_ptr<Proportional>> Proportional::Create(
    const Options& options, const ComponentContext& context) {
  return std::unique_ptr<Proportional>(
      new Proportional(options, context.num_clients));
}

absl::StatusOr<int64_t> Proportional::DoBatchSize(int64_t /*round*/,
                                                  int64_t client) {
  if (client < 0 || client >= static_cast<int64_t>(batch_sizes_.size())) {
    return absl::InvalidArgumentError(absl::StrCat("client ", client));
  }
  return std::clamp(static_cast<int64_t>(std::llround(
                        batch_sizes_[static_cast<size_t>(client)])),
                    options_.min_batch_size, options_.max_batch_size);
}

void Proportional::ObserveClient(const ClientTiming& timing) {
  if (timing.client < 0 ||
      timing.client >= static_cast<int64_t>(seconds_.size()) ||
      !(timing.seconds > 0) || timing.samples < 1) {
    return;
  }
  // A client with fewer examples than its batch is not fast for that.
  const double share = batch_sizes_[static_cast<size_t>(timing.client)] /
                       static_cast<double>(timing.samples);
  const double full = timing.seconds * std::max(1.0, share);
  double& seconds = seconds_[static_cast<size_t>(timing.client)];
  seconds = seconds > 0
                ? options_.smoothing * seconds + (1 - options_.smoothing) * full
                : full;
  took_part_.push_back(timing.client);
}

absl::Status Proportional::ObserveRound(int64_t /*round*/,
                                        const ScalarMap& /*metrics*/) {
  const std::vector<int64_t> clients = std::exchange(took_part_, {});
  double mean = 0;
  for (const int64_t client : clients) {
    mean += seconds_[static_cast<size_t>(client)] /
            static_cast<double>(clients.size());
  }
  const bool even =
      std::all_of(clients.begin(), clients.end(), [this, mean](int64_t client) {
        return std::abs(seconds_[static_cast<size_t>(client)] / mean - 1) <=
               options_.dead_band;
      });
  if (even) {
    return absl::OkStatus();
  }
  const auto smallest = static_cast<double>(options_.min_batch_size);
  const auto largest = static_cast<double>(options_.max_batch_size);
  for (const int64_t client : clients) {
    const auto k = static_cast<size_t>(client);
    batch_sizes_[k] = batch_sizes_[k] * mean / seconds_[k];
  }
  // All change with the mean, and times are of other batch sizes from here on.
  std::fill(seconds_.begin(), seconds_.end(), 0);
  const double now =
      std::accumulate(batch_sizes_.begin(), batch_sizes_.end(), 0.0) /
      static_cast<double>(batch_sizes_.size());
  for (double& batch_size : batch_sizes_) {
    batch_size =
        std::clamp(batch_size * static_cast<double>(options_.batch_size) / now,
                   smallest, largest);
  }
  return absl::OkStatus();
}

ComponentState Proportional::SaveState() const {
  return {.tensors = {
              {"batch_sizes", {ToTensor(batch_sizes_), ToTensor(seconds_)}}}};
}

absl::Status Proportional::LoadState(const ComponentState& state) {
  const auto found = state.tensors.find("batch_sizes");
  if (found == state.tensors.end() || found->second.size() != 2 ||
      found->second[0].numel() != static_cast<int64_t>(batch_sizes_.size()) ||
      found->second[1].numel() != static_cast<int64_t>(seconds_.size())) {
    return absl::InvalidArgumentError(
        "no batch sizes of as many clients as there are");
  }
  batch_sizes_ = ToVector(found->second[0]);
  seconds_ = ToVector(found->second[1]);
  return absl::OkStatus();
}

}  // namespace fedlb::batch
