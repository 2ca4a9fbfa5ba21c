// Tells critical phases of training from calm ones by how fast the gradient's
// norm changes.

#ifndef FEDLB_CRITICAL_PHASE_H_
#define FEDLB_CRITICAL_PHASE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "fedlb/component.h"
#include "fedlb/export.h"
#include "fedlb/param_schema.h"
#include "fedlb/tensor_list.h"

namespace fedlb {

struct CriticalPhaseOptions {
  double threshold = 0.5;
  std::string threshold_kind = "absolute";
  std::string scope = "server";
  std::string smoothing = "ewma";
  int64_t window = 25;
  double smoothing_factor = 0;
  int64_t norm_power = 2;

  static ParamSchema<CriticalPhaseOptions> Schema();
};

// The gradient change Delta(g) of S. Tyagi, "On Using Large-Batches in
// Federated Learning", 2025, Eq 8:
//   Delta_i = |E_i - E_{i-1}| / E_{i-1},  E_i = smoothed ||g_i||^norm_power.
// Smoothing is that of SelSync (S. Tyagi and M. Swany, CLUSTER 2023): the last
// `window` values weighted (1 - a)^age, renormalised. While the window is not
// full the phase counts as critical and Delta is 0.
//
// With threshold_kind "quantile" the threshold is that quantile of the Deltas
// seen so far (P-square of Jain and Chlamtac, CACM 1985, so that it needs no
// history).
//
// One detector, fed by unmapped gradients, serves mapper, compressor and sync
// policy. Not thread-safe.
class FEDLB_API CriticalPhaseDetector {
 public:
  // `num_workers` sets the smoothing factor N / 100 when the option is 0.
  CriticalPhaseDetector(const CriticalPhaseOptions& options,
                        int64_t num_workers);

  // Takes the next gradient.
  void Observe(const TensorList& gradient);
  // The same from the gradient's squared norm.
  void ObserveSquaredNorm(double squared_norm);

  // Whether there has been a change yet; until then it reads 0.
  bool has_change() const { return has_change_; }
  double gradient_change() const { return gradient_change_; }
  bool critical() const { return critical_; }

  ComponentState SaveState() const;
  absl::Status LoadState(const ComponentState& state);

 private:
  double Smoothed() const;
  void UpdateQuantile(double change);

  CriticalPhaseOptions options_;
  double factor_;
  std::vector<double> norms_;  // oldest first, at most `window`
  double previous_ = 0;        // smoothed value before the newest, 0: none
  double gradient_change_ = 0;
  bool has_change_ = false;
  bool critical_ = true;
  // P-square markers, and the number of changes seen.
  std::vector<double> heights_;
  std::vector<double> positions_;
  double num_changes_ = 0;
};

}  // namespace fedlb

#endif  // FEDLB_CRITICAL_PHASE_H_
