#include "optim/lr_schedules.h"

#include <cmath>
#include <numbers>

namespace fedlb::optim {
namespace {

constexpr char kWarmupRounds[] =
    "Rounds before the base rate is reached; 0 for no warm-up.";
constexpr char kStartFactor[] = "Share of the base rate in round 0.";
constexpr char kMinFactor[] = "Share of the base rate at the end.";

// I. Loshchilov and F. Hutter, "SGDR", ICLR 2017, Eq 5 without restarts.
double CosineFactor(int64_t round, int64_t num_rounds, double min_factor) {
  const double progress =
      static_cast<double>(round) / static_cast<double>(num_rounds);
  return min_factor +
         (1 - min_factor) * (1 + std::cos(std::numbers::pi * progress)) / 2;
}

// The gradual warm-up of P. Goyal et al., "Accurate, Large Minibatch SGD",
// 2017, section 2.2, by round instead of by iteration.
double WarmupFactor(int64_t round, int64_t warmup_rounds, double start_factor) {
  if (round >= warmup_rounds) {
    return 1;
  }
  return start_factor + (1 - start_factor) * static_cast<double>(round) /
                            static_cast<double>(warmup_rounds);
}

}  // namespace

ParamSchema<ConstantOptions> Constant::Schema() {
  return ParamSchema<Options>();
}

absl::StatusOr<std::unique_ptr<Constant>> Constant::Create(
    const Options& /*options*/, const ComponentContext& /*context*/) {
  return std::make_unique<Constant>();
}

double Constant::Factor(int64_t /*round*/, int64_t /*num_rounds*/) const {
  return 1;
}

ParamSchema<CosineOptions> Cosine::Schema() {
  return ParamSchema<Options>().Add("min_factor", &Options::min_factor,
                                    kMinFactor, InClosed(0, 1));
}

absl::StatusOr<std::unique_ptr<Cosine>> Cosine::Create(
    const Options& options, const ComponentContext& /*context*/) {
  return std::unique_ptr<Cosine>(new Cosine(options));
}

double Cosine::Factor(int64_t round, int64_t num_rounds) const {
  return CosineFactor(round, num_rounds, options_.min_factor);
}

ParamSchema<LinearWarmupOptions> LinearWarmup::Schema() {
  return ParamSchema<Options>()
      .Add("warmup_rounds", &Options::warmup_rounds, kWarmupRounds, AtLeast(0))
      .Add("start_factor", &Options::start_factor, kStartFactor,
           InLeftOpen(0, 1));
}

absl::StatusOr<std::unique_ptr<LinearWarmup>> LinearWarmup::Create(
    const Options& options, const ComponentContext& /*context*/) {
  return std::unique_ptr<LinearWarmup>(new LinearWarmup(options));
}

double LinearWarmup::Factor(int64_t round, int64_t /*num_rounds*/) const {
  return WarmupFactor(round, options_.warmup_rounds, options_.start_factor);
}

ParamSchema<WarmupCosineOptions> WarmupCosine::Schema() {
  return ParamSchema<Options>()
      .Add("warmup_rounds", &Options::warmup_rounds, kWarmupRounds, AtLeast(0))
      .Add("start_factor", &Options::start_factor, kStartFactor,
           InLeftOpen(0, 1))
      .Add("min_factor", &Options::min_factor, kMinFactor, InClosed(0, 1));
}

absl::StatusOr<std::unique_ptr<WarmupCosine>> WarmupCosine::Create(
    const Options& options, const ComponentContext& /*context*/) {
  return std::unique_ptr<WarmupCosine>(new WarmupCosine(options));
}

double WarmupCosine::Factor(int64_t round, int64_t num_rounds) const {
  const int64_t warmup = options_.warmup_rounds;
  if (round < warmup) {
    return WarmupFactor(round, warmup, options_.start_factor);
  }
  return CosineFactor(round - warmup, num_rounds - warmup, options_.min_factor);
}

}  // namespace fedlb::optim
