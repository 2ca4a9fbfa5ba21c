#include "aggregation/fednova.h"

#include <array>
#include <cstddef>

#include "absl/strings/str_cat.h"
#include "fedlb/status.h"

namespace fedlb::aggregation {
namespace {

// Acts on (velocity, way, 1).
using Matrix = std::array<std::array<double, 3>, 3>;

Matrix Product(const Matrix& a, const Matrix& b) {
  Matrix product = {};
  for (size_t i = 0; i < 3; ++i) {
    for (size_t j = 0; j < 3; ++j) {
      for (size_t k = 0; k < 3; ++k) {
        product[i][j] += a[i][k] * b[k][j];
      }
    }
  }
  return product;
}

}  // namespace

ParamSchema<FedNovaOptions> FedNova::Schema() {
  return ParamSchema<Options>()
      .Add("momentum", &Options::momentum,
           "Momentum of [optimizer], which must be sgd without nesterov and "
           "without keep_state.",
           InHalfOpen(0, 1))
      .Add("mu", &Options::mu,
           "The mu of client_algorithm fedprox; 0 without one.", AtLeast(0))
      .Add("lr", &Options::lr,
           "Learning rate of the local steps, which counts with mu > 0 only.",
           GreaterThan(0))
      .AddChoice(
          "effective_steps", &Options::effective_steps,
          {{"norm", EffectiveSteps::kNorm}, {"steps", EffectiveSteps::kSteps}},
          "What the mean step is multiplied by: the mean of the "
          "clients' normalisers ||a||_1, as in the paper, or the mean "
          "number of steps, as the authors' code does with a proximal "
          "term.")
      .Check([](const Options& options) {
        if (options.lr * options.mu >= 1) {
          return ConfigError(absl::StrCat(
              "lr * mu = ", options.lr * options.mu,
              ": a proximal term that strong overshoots; lower mu or lr to a "
              "product below 1"));
        }
        return absl::OkStatus();
      });
}

absl::StatusOr<std::unique_ptr<FedNova>> FedNova::Create(
    const Options& options, const ComponentContext& /*context*/) {
  return std::unique_ptr<FedNova>(new FedNova(options));
}

// A step with gradient 1 and the way already gone, which the proximal term
// pulls back:
//   velocity <- momentum velocity + 1 - lr mu way
//   way      <- way + velocity
// The number of steps is a client's claim, so it must not be a loop's bound.
double FedNova::NormOf(int64_t steps) const {
  const double rho = options_.momentum;
  const double pull = options_.lr * options_.mu;
  Matrix step = {{{rho, -pull, 1}, {rho, 1 - pull, 1}, {0, 0, 1}}};
  Matrix power = {{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}};
  for (; steps > 0; steps /= 2) {
    if (steps % 2 == 1) {
      power = Product(power, step);
    }
    step = Product(step, step);
  }
  return power[1][2];
}

absl::StatusOr<FedNova::Term> FedNova::Weigh(const UpdateFacts& update,
                                             Totals& totals) const {
  const int64_t steps =
      update.kind == Update::Kind::kGradient ? 1 : update.local_steps;
  if (steps < 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "fednova: client ", update.client, " counts ", steps, " local steps"));
  }
  const auto examples = static_cast<double>(update.num_examples);
  const double norm = NormOf(steps);
  if (norm <= 0) {
    // Momentum near 1 has turned around in a strong proximal term.
    return ConfigError(absl::StrCat(
        "fednova: with momentum = ", options_.momentum,
        " and lr * mu = ", options_.lr * options_.mu, ", ", steps,
        " local steps lead against their gradients (||a||_1 = ", norm,
        "); lower momentum or mu"));
  }
  totals[0] += examples;
  totals[1] += examples * (options_.effective_steps == EffectiveSteps::kNorm
                               ? norm
                               : static_cast<double>(steps));
  return Term{.weight = examples / norm};
}

// 1 / sum_k n_k makes shares of the weights n_k / ||a_k||_1, and tau_eff is
// totals[1] / totals[0].
double FedNova::Divisor(const Totals& totals) const {
  return totals[0] * totals[0] / totals[1];
}

}  // namespace fedlb::aggregation
