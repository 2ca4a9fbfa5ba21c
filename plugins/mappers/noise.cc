#include "mappers/noise.h"

#include <cmath>
#include <cstddef>

#include <ATen/core/grad_mode.h>

#include "fedlb/random.h"
#include "fedlb/status.h"
#include "fedlb/tensor_list.h"
#include "mappers/common.h"

namespace fedlb::mappers {
namespace {

// |noise| / |gradient|, 0 for no gradient.
double Relative(double squared_noise, double squared_norm) {
  return squared_norm > 0 ? std::sqrt(squared_noise / squared_norm) : 0;
}

}  // namespace

ParamSchema<GaussianNoiseOptions> GaussianNoise::Schema() {
  return ParamSchema<Options>()
      .Add("variance", &Options::variance,
           "Variance of the noise of every element in the first step.",
           AtLeast(0))
      .Add("annealing", &Options::annealing,
           "The variance of step t, from 0, is divided by (1 + t) to this "
           "power.",
           AtLeast(0));
}

absl::StatusOr<std::unique_ptr<GaussianNoise>> GaussianNoise::Create(
    const Options& options, const ComponentContext& context) {
  return std::unique_ptr<GaussianNoise>(
      new GaussianNoise(options, context.seed));
}

absl::Status GaussianNoise::DoMap(const StepContext& context,
                                  TensorList& gradient) {
  const at::NoGradGuard no_grad;
  last_deviation_ = std::sqrt(
      options_.variance /
      std::pow(1 + static_cast<double>(context.step), options_.annealing));
  if (last_deviation_ > 0) {
    AddNormal(KeyOf(context, seed_, "gaussian_noise"), last_deviation_, nullptr,
              gradient);
  }
  return absl::OkStatus();
}

ParamSchema<SmallBatchNoiseOptions> SmallBatchNoiseOptions::Schema() {
  using Options = SmallBatchNoiseOptions;
  return ParamSchema<Options>()
      .Add("small_batch_size", &Options::small_batch_size,
           kSmallBatchDescription, AtLeast(1))
      .Add("scale", &Options::scale,
           "Factor on the noise; 1 for that of the small batch.", AtLeast(0));
}

absl::StatusOr<std::unique_ptr<FisherNoise>> FisherNoise::Create(
    const Options& options, const ComponentContext& context) {
  return std::unique_ptr<FisherNoise>(new FisherNoise(options, context.seed));
}

absl::Status FisherNoise::DoMap(const StepContext& context,
                                TensorList& gradient) {
  FEDLB_RETURN_IF_ERROR(NeedTwoMeans(context, kName));
  const at::NoGradGuard no_grad;
  const auto batch = static_cast<double>(context.batch_size);
  const auto small = static_cast<double>(options_.small_batch_size);
  const auto means = static_cast<double>(context.partial_means.size());
  last_noise_ = 0;
  if (batch <= small || options_.scale == 0) {
    return absl::OkStatus();  // no noise is missing
  }
  TensorList root;
  for (size_t i = 0; i < gradient.size(); ++i) {
    at::Tensor fisher = gradient[i].square();
    for (const TensorList& mean : context.partial_means) {
      const at::Tensor deviation = mean[i].sub(gradient[i]);
      // m M / (M - 1) / M with m = B / M examples a mean.
      fisher.addcmul_(deviation, deviation, batch / means / (means - 1));
    }
    root.push_back(fisher.sqrt_());
  }
  const double factor =
      options_.scale * std::sqrt((batch - small) / (batch * small));
  last_noise_ =
      Relative(factor * factor * SquaredNorm(root), SquaredNorm(gradient));
  AddNormal(KeyOf(context, seed_, "fisher_noise"), factor, &root, gradient);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<MicrobatchNoise>> MicrobatchNoise::Create(
    const Options& options, const ComponentContext& context) {
  return std::unique_ptr<MicrobatchNoise>(
      new MicrobatchNoise(options, context.seed));
}

absl::Status MicrobatchNoise::DoMap(const StepContext& context,
                                    TensorList& gradient) {
  FEDLB_RETURN_IF_ERROR(NeedTwoMeans(context, kName));
  const auto batch = static_cast<double>(context.batch_size);
  const auto small = static_cast<double>(options_.small_batch_size);
  const auto means = static_cast<double>(context.partial_means.size());
  last_noise_ = 0;
  if (batch <= small || options_.scale == 0) {
    return absl::OkStatus();
  }
  const double factor = options_.scale *
                        std::sqrt((batch / small - 1) * means / (means - 1)) /
                        means;
  RandomStream random(KeyOf(context, seed_, "microbatch_noise"));
  TensorList noise = ZerosLike(gradient);
  double of_gradient = 0;
  for (const TensorList& mean : context.partial_means) {
    const double weight = factor * random.Normal();
    AddScaled(mean, weight, noise);
    of_gradient -= weight;
  }
  AddScaled(gradient, of_gradient, noise);
  last_noise_ = Relative(SquaredNorm(noise), SquaredNorm(gradient));
  AddScaled(noise, 1, gradient);
  return absl::OkStatus();
}

}  // namespace fedlb::mappers
