#include "pair_scores.h"

#include <cmath>
#include <iterator>
#include <limits>

#include <ATen/core/Tensor.h>

#include "absl/strings/str_cat.h"
#include "pair_codes.h"

namespace fedlb::teacher {
namespace {

constexpr const char* kNames[] = {
    "cosine",          "norm_ratio",    "r2_mse",         "r2_norm_match",
    "cosine_identity", "r2_identity",   "r2_small_steps", "r2_constant_gain",
    "r2_oracle_gain",  "ceiling_cosine"};

// In a saved state, where there is no finite score.
constexpr double kNoScore = std::numeric_limits<double>::lowest();

double Ratio(double a, double b) { return b > 0 ? a / b : 0; }

double Cosine(double product, double energy_a, double energy_b) {
  return Ratio(product, std::sqrt(energy_a * energy_b));
}

// 1 - |D - gain P|^2 / |D|^2 from |D|^2, P . D and |P|^2.
double R2(double displacement, double product, double energy, double gain) {
  return Ratio(2 * gain * product - gain * gain * energy, displacement);
}

}  // namespace

void PairScores::Add(const DisplacementPair& pair, const PairImages& images,
                     double small_steps, bool heldout) {
  static_assert(std::size(kNames) == kNumScores);
  const TensorList& displacement = pair.displacement;
  const double d = SquaredNorm(displacement);
  const double g = SquaredNorm(pair.gradient);
  const double gd = Dot(pair.gradient, displacement);
  if (!(d > 0)) {
    return;  // nothing to predict
  }
  if (heldout) {
    const double t = SquaredNorm(images.norm_match);
    const double td = Dot(images.norm_match, displacement);
    const double m = SquaredNorm(images.mse);
    const double md = Dot(images.mse, displacement);
    double ceiling = std::numeric_limits<double>::quiet_NaN();
    if (!pair.reordered.empty()) {
      ceiling = Cosine(Dot(pair.reordered, displacement),
                       SquaredNorm(pair.reordered), d);
    }
    heldout_.push_back({Cosine(td, t, d), std::sqrt(t / d), R2(d, md, m, 1),
                        R2(d, td, t, 1), Cosine(gd, g, d), R2(d, gd, g, 1),
                        R2(d, gd, g, small_steps),
                        R2(d, gd, g, Ratio(product_sum_, energy_sum_)),
                        R2(d, gd, g, Ratio(gd, g)), ceiling});
  }
  product_sum_ += gd / d;
  energy_sum_ += g / d;
}

ScalarMap PairScores::Summary() const {
  ScalarMap summary;
  if (heldout_.empty()) {
    return summary;
  }
  summary["heldout.pairs"] = static_cast<double>(heldout_.size());
  for (size_t i = 0; i < kNumScores; ++i) {
    std::vector<double> values;
    for (const auto& scores : heldout_) {
      if (std::isfinite(scores[i])) {
        values.push_back(scores[i]);
      }
    }
    if (!values.empty()) {
      summary[absl::StrCat("heldout.", kNames[i])] = Median(values);
    }
  }
  return summary;
}

TensorList PairScores::Save() const {
  std::vector<double> values = {product_sum_, energy_sum_};
  for (const auto& scores : heldout_) {
    for (const double score : scores) {
      // Files of finite values are easier to check.
      values.push_back(std::isfinite(score) ? score : kNoScore);
    }
  }
  return {ToTensor(values)};
}

absl::Status PairScores::Load(const TensorList& tensors) {
  if (tensors.size() != 1 || tensors[0].dim() != 1 ||
      tensors[0].scalar_type() != at::kDouble ||
      tensors[0].size(0) % static_cast<int64_t>(kNumScores) != 2) {
    return absl::InvalidArgumentError("the scores of pairs are damaged");
  }
  const std::vector<double> values = ToVector(tensors[0]);
  product_sum_ = values[0];
  energy_sum_ = values[1];
  heldout_.clear();
  for (size_t i = 2; i < values.size(); i += kNumScores) {
    auto& scores = heldout_.emplace_back();
    for (size_t j = 0; j < kNumScores; ++j) {
      scores[j] = values[i + j] == kNoScore
                      ? std::numeric_limits<double>::quiet_NaN()
                      : values[i + j];
    }
  }
  return absl::OkStatus();
}

}  // namespace fedlb::teacher
