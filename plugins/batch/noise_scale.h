// The batch policy `noise_scale`: batches follow the gradient noise scale.

#ifndef FEDLB_BATCH_NOISE_SCALE_H_
#define FEDLB_BATCH_NOISE_SCALE_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/batch_policy.h"
#include "fedlb/param_schema.h"

namespace fedlb::batch {

struct NoiseScaleOptions {
  int64_t batch_size = 64;
  int64_t min_batch_size = 16;
  int64_t max_batch_size = 1024;
  double ratio = 1;
  int64_t every = 10;
  double dead_band = 0.2;
};

// All clients use one size. Every `every` rounds it moves to
//   ratio * noise scale / clients of a round,
// so that all batches of a step together have `ratio` times the examples at
// which noise and signal of the gradient are equal (McCandlish et al. 2018): by
// at most a factor of 2, within the bounds, and only if it would change by more
// than the dead band. Without an estimate it stays.
class NoiseScale final : public BatchPolicy {
 public:
  using Options = NoiseScaleOptions;
  static constexpr char kName[] = "noise_scale";
  static constexpr char kSummary[] =
      "Batches that grow and shrink with the gradient noise scale (BSP).";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<NoiseScale>> Create(
      const Options& options, const ComponentContext& context);

  absl::Status ObserveRound(int64_t round, const ScalarMap& metrics) override;
  ComponentState SaveState() const override;
  absl::Status LoadState(const ComponentState& state) override;

 private:
  explicit NoiseScale(const Options& options)
      : options_(options), batch_size_(options.batch_size) {}

  absl::StatusOr<int64_t> DoBatchSize(int64_t round, int64_t client) override;

  const Options options_;
  int64_t batch_size_;
};

}  // namespace fedlb::batch

#endif  // FEDLB_BATCH_NOISE_SCALE_H_
