#include "optim/lr_schedules.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "absl/strings/str_cat.h"
#include "fedlb/status.h"

namespace fedlb::optim {
namespace {

constexpr char kWarmupRounds[] =
    "Rounds before the base rate is reached; 0 for no warm-up.";
constexpr char kStartFactor[] = "Share of the base rate in round 0.";
constexpr char kGamma[] = "What the rate is multiplied by each time.";
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

// The first round of which `milestone` has passed. The tolerance keeps 0.07 of
// 100 rounds, which in binary is a little more than 7, from being round 8.
int64_t MilestoneRound(double milestone, int64_t num_rounds) {
  const double round =
      milestone < 1 ? milestone * static_cast<double>(num_rounds) : milestone;
  return static_cast<int64_t>(std::ceil(round - 1e-6));
}

absl::Status CheckMilestones(const StepOptions& options) {
  for (const double milestone : options.milestones) {
    const bool is_round =
        milestone == std::floor(milestone) && milestone <= 1e15;
    if (milestone >= 1 && !is_round) {
      return ConfigError(absl::StrCat(
          "milestones = ", milestone,
          " is neither a share of the rounds below 1 nor a whole round"));
    }
  }
  return absl::OkStatus();
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

ParamSchema<StepOptions> Step::Schema() {
  return ParamSchema<Options>()
      .Add("milestones", &Options::milestones,
           "When the rate falls: below 1 a share of all rounds, from 1 on the "
           "number of a round, counted from 0 and with the warm-up.",
           GreaterThan(0))
      .Add("gamma", &Options::gamma, kGamma, InLeftOpen(0, 1))
      .Add("warmup_rounds", &Options::warmup_rounds, kWarmupRounds, AtLeast(0))
      .Add("start_factor", &Options::start_factor, kStartFactor,
           InLeftOpen(0, 1))
      .Check(CheckMilestones);
}

absl::StatusOr<std::unique_ptr<Step>> Step::Create(
    const Options& options, const ComponentContext& /*context*/) {
  return std::unique_ptr<Step>(new Step(options));
}

double Step::Factor(int64_t round, int64_t num_rounds) const {
  double factor =
      WarmupFactor(round, options_.warmup_rounds, options_.start_factor);
  for (const double milestone : options_.milestones) {
    if (round >= MilestoneRound(milestone, num_rounds)) {
      factor *= options_.gamma;
    }
  }
  return factor;
}

ParamSchema<ExponentialOptions> Exponential::Schema() {
  return ParamSchema<Options>()
      .Add("gamma", &Options::gamma, kGamma, InLeftOpen(0, 1))
      .Add("min_factor", &Options::min_factor,
           "Share of the base rate below which it does not fall.",
           InClosed(0, 1))
      .Add("warmup_rounds", &Options::warmup_rounds, kWarmupRounds, AtLeast(0))
      .Add("start_factor", &Options::start_factor, kStartFactor,
           InLeftOpen(0, 1));
}

absl::StatusOr<std::unique_ptr<Exponential>> Exponential::Create(
    const Options& options, const ComponentContext& /*context*/) {
  return std::unique_ptr<Exponential>(new Exponential(options));
}

double Exponential::Factor(int64_t round, int64_t /*num_rounds*/) const {
  const int64_t warmup = options_.warmup_rounds;
  if (round < warmup) {
    return WarmupFactor(round, warmup, options_.start_factor);
  }
  return std::max(
      options_.min_factor,
      std::pow(options_.gamma, static_cast<double>(round - warmup)));
}

ParamSchema<PolynomialOptions> Polynomial::Schema() {
  return ParamSchema<Options>()
      .Add("power", &Options::power,
           "1 falls in equal steps; 2 is usual with lars.", GreaterThan(0))
      .Add("min_factor", &Options::min_factor, kMinFactor, InClosed(0, 1))
      .Add("warmup_rounds", &Options::warmup_rounds, kWarmupRounds, AtLeast(0))
      .Add("start_factor", &Options::start_factor, kStartFactor,
           InLeftOpen(0, 1));
}

absl::StatusOr<std::unique_ptr<Polynomial>> Polynomial::Create(
    const Options& options, const ComponentContext& /*context*/) {
  return std::unique_ptr<Polynomial>(new Polynomial(options));
}

double Polynomial::Factor(int64_t round, int64_t num_rounds) const {
  const int64_t warmup = options_.warmup_rounds;
  if (round < warmup) {
    return WarmupFactor(round, warmup, options_.start_factor);
  }
  const double left = static_cast<double>(num_rounds - round) /
                      static_cast<double>(num_rounds - warmup);
  return options_.min_factor +
         (1 - options_.min_factor) * std::pow(left, options_.power);
}

}  // namespace fedlb::optim
