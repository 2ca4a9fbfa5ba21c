// Gradient mappers that add the noise that a smaller batch would have had.

#ifndef FEDLB_PLUGINS_MAPPERS_NOISE_H_
#define FEDLB_PLUGINS_MAPPERS_NOISE_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/gradient_mapper.h"
#include "fedlb/param_schema.h"

namespace fedlb::mappers {

struct GaussianNoiseOptions {
  double variance = 0.01;
  double annealing = 0.55;
};

// A. Neelakantan et al., "Adding Gradient Noise Improves Learning for Very Deep
// Networks", 2015, Eq 1: g + N(0, variance / (1 + t)^annealing) in every
// element, with the step t.
class GaussianNoise final : public GradientMapper {
 public:
  using Options = GaussianNoiseOptions;
  static constexpr char kName[] = "gaussian_noise";
  static constexpr char kSummary[] =
      "Adds Gaussian noise that grows smaller from step to step.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<GaussianNoise>> Create(
      const Options& options, const ComponentContext& context);

  // "noise": its standard deviation per element.
  ScalarMap Report() const override { return {{"noise", last_deviation_}}; }

 private:
  GaussianNoise(const Options& options, uint64_t seed)
      : options_(options), seed_(seed) {}

  absl::Status DoMap(const StepContext& context, TensorList& gradient) override;

  const Options options_;
  const uint64_t seed_;
  double last_deviation_ = 0;
};

// Of the mappers that imitate the noise of a small batch.
struct SmallBatchNoiseOptions {
  int64_t small_batch_size = 64;
  double scale = 1;

  static ParamSchema<SmallBatchNoiseOptions> Schema();
};

// Y. Wen et al., "An Empirical Study of Large-Batch Stochastic Gradient Descent
// with Structured Covariance Noise", AISTATS 2020:
//   g + scale sqrt((B - b) / (B b)) sqrt(diag F) .* z,  z ~ N(0, I),
// for the batch B and the small batch b. The diagonal of the empirical Fisher
// information, the mean of squared per-example gradients, is estimated from M
// partial means G of m examples: m M / (M - 1) mean (G - g)^2 + g^2.
class FisherNoise final : public GradientMapper {
 public:
  using Options = SmallBatchNoiseOptions;
  static constexpr char kName[] = "fisher_noise";
  static constexpr char kSummary[] =
      "Adds noise with the diagonal covariance of a small batch's gradient.";

  static ParamSchema<Options> Schema() { return Options::Schema(); }
  static absl::StatusOr<std::unique_ptr<FisherNoise>> Create(
      const Options& options, const ComponentContext& context);

  // "noise": its expected norm over the gradient's.
  ScalarMap Report() const override { return {{"noise", last_noise_}}; }
  bool NeedsPartialMeans() const override { return true; }

 private:
  FisherNoise(const Options& options, uint64_t seed)
      : options_(options), seed_(seed) {}

  absl::Status DoMap(const StepContext& context, TensorList& gradient) override;

  const Options options_;
  const uint64_t seed_;
  double last_noise_ = 0;
};

// Noise with the full covariance of a small batch's gradient, as far as M
// partial means G span it:
//   g + scale s / M sum_i z_i (G_i - g),  s = sqrt((B / b - 1) M / (M - 1)),
// z_i ~ N(0, 1). Its mean is 0 and its covariance that of the gradient of b
// examples less that of B. The family is that of J. Wu et al., "On the Noisy
// Gradient Descent that Generalizes as SGD", ICML 2020.
class MicrobatchNoise final : public GradientMapper {
 public:
  using Options = SmallBatchNoiseOptions;
  static constexpr char kName[] = "microbatch_noise";
  static constexpr char kSummary[] =
      "Adds noise with the covariance that the batch's parts show.";

  static ParamSchema<Options> Schema() { return Options::Schema(); }
  static absl::StatusOr<std::unique_ptr<MicrobatchNoise>> Create(
      const Options& options, const ComponentContext& context);

  // "noise": the norm of what was added over the gradient's.
  ScalarMap Report() const override { return {{"noise", last_noise_}}; }
  bool NeedsPartialMeans() const override { return true; }

 private:
  MicrobatchNoise(const Options& options, uint64_t seed)
      : options_(options), seed_(seed) {}

  absl::Status DoMap(const StepContext& context, TensorList& gradient) override;

  const Options options_;
  const uint64_t seed_;
  double last_noise_ = 0;
};

}  // namespace fedlb::mappers

#endif  // FEDLB_PLUGINS_MAPPERS_NOISE_H_
