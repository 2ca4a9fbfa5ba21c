#include "gate_fit.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "displacement_gain.h"

namespace fedlb::teacher {
namespace {

constexpr size_t kFewestPairs = 3;
// Candidates for the curvature scale, equidistant in their logarithm.
constexpr int kCandidates = 40;
constexpr double kLowestScale = 0.05;
constexpr double kHighestScale = 30;
// The largest gain over the number of small steps.
constexpr double kLargestGain = 1.5;

// The squared distance of the scaled codes from the displacements', over the
// displacement's norm.
double CodeError(const CodedPair& pair, double curvature_scale,
                 double min_gain) {
  const double largest = std::max(min_gain, kLargestGain * pair.small_steps);
  double error = 0;
  double energy = 0;
  for (const BlockCodes& block : pair.blocks) {
    energy += block.displacement_energy;
    for (size_t j = 0; j < block.z.size(); ++j) {
      const double gain = std::clamp(
          DisplacementGain(curvature_scale * block.z[j], pair.small_steps),
          min_gain, largest);
      const double missed = gain * block.gradient[j] - block.displacement[j];
      error += missed * missed;
    }
  }
  return energy > 0 ? error / energy : 0;
}

}  // namespace

std::optional<FittedGates> FitGates(const PairCodes& codes, double min_gain) {
  const auto& pairs = codes.pairs();
  if (pairs.size() < kFewestPairs) {
    return std::nullopt;
  }
  FittedGates gates;
  double least = std::numeric_limits<double>::infinity();
  for (int i = 0; i < kCandidates; ++i) {
    const double scale =
        kLowestScale * std::pow(kHighestScale / kLowestScale,
                                static_cast<double>(i) / (kCandidates - 1));
    double error = 0;
    for (const CodedPair& pair : pairs) {
      error += CodeError(pair, scale, min_gain);
    }
    if (error < least) {
      least = error;
      gates.curvature_scale = scale;
    }
  }

  std::vector<double> matched;
  std::vector<double> least_squares;
  double largest = min_gain;
  for (const CodedPair& pair : pairs) {
    const double energy = pair.bulk_energy();
    if (energy > 0) {
      const double gain = pair.bulk_product() / energy;
      least_squares.push_back(gain);
      matched.push_back(gain / std::max(kLowestCosine, pair.bulk_cosine()));
    }
    largest = std::max(largest, kLargestGain * pair.small_steps);
  }
  if (!matched.empty()) {
    gates.bulk_gain = std::clamp(Median(matched), min_gain, largest);
    gates.mse_bulk_gain = std::clamp(Median(least_squares), min_gain, largest);
  }
  std::vector<double> norms;
  for (const CodedPair& pair : pairs) {
    norms.push_back(pair.displacement_norm());
  }
  gates.clip_norm = ClipNormOf(norms);
  return gates;
}

}  // namespace fedlb::teacher
