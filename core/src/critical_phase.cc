#include "fedlb/critical_phase.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include <ATen/core/Tensor.h>

#include "fedlb/status.h"

namespace fedlb {
namespace {

// Keeps the relative change finite when the gradient vanishes.
constexpr double kTiny = 1e-30;
// P-square follows the minimum, the quantile, the maximum and two points
// between them.
constexpr int kMarkers = 5;

}  // namespace

ParamSchema<CriticalPhaseOptions> CriticalPhaseOptions::Schema() {
  using Options = CriticalPhaseOptions;
  return ParamSchema<Options>()
      .Add("threshold", &Options::threshold,
           "A phase is critical when the gradient change Delta(g) reaches this "
           "value or, with threshold_kind \"quantile\", this quantile of the "
           "changes seen so far (below 1).",
           AtLeast(0))
      .Add("threshold_kind", &Options::threshold_kind,
           "What threshold means.", OneOf({"absolute", "quantile"}))
      .Add("scope", &Options::scope,
           "Whose gradients are watched: the aggregate on the server, or each "
           "client's own. A server-scope mapper then takes the phase as "
           "critical when half of the clients' steps were.",
           OneOf({"server", "client"}))
      .Add("smoothing", &Options::smoothing,
           "\"ewma\" smooths the gradient's norm over a window before the "
           "change is taken; \"none\" compares neighbours.",
           OneOf({"ewma", "none"}))
      .Add("window", &Options::window,
           "Gradients in the smoothing window; until it is full the phase "
           "counts as critical.",
           InClosed(2, 10000))
      .Add("smoothing_factor", &Options::smoothing_factor,
           "Weight that a value loses per step of age; 0 takes a hundredth per "
           "client of the cohort, as SelSync does.",
           InHalfOpen(0, 1))
      .Add("norm_power", &Options::norm_power,
           "2 watches the squared norm of the gradient, 1 the norm.",
           InClosed(1, 2))
      .Check([](const Options& options) {
        if (options.threshold_kind == "quantile" && options.threshold >= 1) {
          return ConfigError(
              "threshold must be below 1 when threshold_kind is \"quantile\"");
        }
        return absl::OkStatus();
      });
}

CriticalPhaseDetector::CriticalPhaseDetector(
    const CriticalPhaseOptions& options, int64_t num_workers)
    : options_(options),
      factor_(options.smoothing_factor > 0
                  ? options.smoothing_factor
                  : std::clamp(0.01 * static_cast<double>(num_workers), 0.01,
                               0.99)) {}

void CriticalPhaseDetector::Observe(const TensorList& gradient) {
  ObserveSquaredNorm(SquaredNorm(gradient));
}

void CriticalPhaseDetector::ObserveSquaredNorm(double squared_norm) {
  const size_t window =
      options_.smoothing == "ewma" ? static_cast<size_t>(options_.window) : 1;
  norms_.push_back(options_.norm_power == 2 ? squared_norm
                                            : std::sqrt(squared_norm));
  if (norms_.size() > window) {
    norms_.erase(norms_.begin());
  }
  if (norms_.size() < window) {
    return;
  }
  const double smoothed = Smoothed();
  const double previous = std::exchange(previous_, smoothed);
  if (previous == 0) {
    return;
  }
  gradient_change_ =
      std::abs(smoothed - previous) / std::max(previous, kTiny);
  has_change_ = true;
  if (options_.threshold_kind == "absolute") {
    critical_ = gradient_change_ >= options_.threshold;
    return;
  }
  // The newest change is judged by those before it.
  critical_ = num_changes_ < kMarkers || gradient_change_ >= heights_[2];
  UpdateQuantile(gradient_change_);
}

double CriticalPhaseDetector::Smoothed() const {
  double weight = 1;
  double sum = 0;
  double total = 0;
  for (size_t age = 0; age < norms_.size(); ++age) {
    sum += weight * norms_[norms_.size() - 1 - age];
    total += weight;
    weight *= 1 - factor_;
  }
  return sum / total;
}

// R. Jain and I. Chlamtac, "The P-square algorithm for dynamic calculation of
// quantiles and histograms without storing observations", CACM 1985, box 1.
void CriticalPhaseDetector::UpdateQuantile(double change) {
  const double p = options_.threshold;
  num_changes_ += 1;
  if (num_changes_ <= kMarkers) {
    heights_.insert(
        std::upper_bound(heights_.begin(), heights_.end(), change), change);
    positions_.push_back(num_changes_);
    return;
  }
  int cell = 0;
  if (change < heights_[0]) {
    heights_[0] = change;
  } else if (change >= heights_[kMarkers - 1]) {
    heights_[kMarkers - 1] = change;
    cell = kMarkers - 2;
  } else {
    while (change >= heights_[cell + 1]) {
      ++cell;
    }
  }
  for (int i = cell + 1; i < kMarkers; ++i) {
    positions_[i] += 1;
  }
  const double quantiles[kMarkers] = {0, p / 2, p, (1 + p) / 2, 1};
  for (int i = 1; i < kMarkers - 1; ++i) {
    const double desired = 1 + (num_changes_ - 1) * quantiles[i];
    const double gap = desired - positions_[i];
    const double after = positions_[i + 1] - positions_[i];
    const double before = positions_[i - 1] - positions_[i];
    if (!((gap >= 1 && after > 1) || (gap <= -1 && before < -1))) {
      continue;
    }
    const int sign = gap > 0 ? 1 : -1;
    const double slope_after = (heights_[i + 1] - heights_[i]) / after;
    const double slope_before = (heights_[i - 1] - heights_[i]) / before;
    const double parabola =
        heights_[i] + sign / (after - before) *
                          ((sign - before) * slope_after +
                           (after - sign) * slope_before);
    if (heights_[i - 1] < parabola && parabola < heights_[i + 1]) {
      heights_[i] = parabola;
    } else {
      heights_[i] += sign > 0 ? slope_after : -slope_before;
    }
    positions_[i] += sign;
  }
}

ComponentState CriticalPhaseDetector::SaveState() const {
  ComponentState state;
  state.tensors["norms"] = {ToTensor(norms_)};
  state.tensors["heights"] = {ToTensor(heights_)};
  state.tensors["positions"] = {ToTensor(positions_)};
  state.scalars = {{"previous", previous_},
                   {"gradient_change", gradient_change_},
                   {"has_change", has_change_ ? 1 : 0},
                   {"critical", critical_ ? 1 : 0},
                   {"num_changes", num_changes_}};
  return state;
}

absl::Status CriticalPhaseDetector::LoadState(const ComponentState& state) {
  const auto vector = [&state](const char* name, std::vector<double>* out) {
    const auto found = state.tensors.find(name);
    if (found == state.tensors.end() || found->second.size() != 1 ||
        found->second[0].dim() != 1 ||
        found->second[0].scalar_type() != at::kDouble) {
      return false;
    }
    *out = ToVector(found->second[0]);
    return true;
  };
  const auto scalar = [&state](const char* name, double* out) {
    const auto found = state.scalars.find(name);
    if (found == state.scalars.end()) {
      return false;
    }
    *out = found->second;
    return true;
  };
  double has_change = 0;
  double critical = 0;
  if (!vector("norms", &norms_) || !vector("heights", &heights_) ||
      !vector("positions", &positions_) || heights_.size() > kMarkers ||
      positions_.size() != heights_.size() || !scalar("previous", &previous_) ||
      !scalar("gradient_change", &gradient_change_) ||
      !scalar("has_change", &has_change) ||
      !scalar("critical", &critical) || !scalar("num_changes", &num_changes_)) {
    return absl::InvalidArgumentError(
        "not the state of a critical-phase detector");
  }
  has_change_ = has_change != 0;
  critical_ = critical != 0;
  return absl::OkStatus();
}

}  // namespace fedlb
