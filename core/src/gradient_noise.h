// How much of a gradient is noise of its batch: the gradient noise scale.

#ifndef FEDLB_SRC_GRADIENT_NOISE_H_
#define FEDLB_SRC_GRADIENT_NOISE_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "fedlb/component.h"
#include "fedlb/export.h"
#include "fedlb/round_task.h"
#include "fedlb/tensor_list.h"
#include "fedlb/update_sink.h"

namespace fedlb {

// Unbiased estimates of the squared norm of the true gradient G and of the
// trace of the covariance Sigma of one example's gradient. Either may come out
// negative. Their ratio is biased: average both first.
struct NoiseEstimate {
  double signal = 0;    // |G|^2
  double variance = 0;  // tr(Sigma)
};

// From the mean gradients of two batches of different size (McCandlish et al.
// 2018, "An Empirical Model of Large-Batch Training", appendix A).
FEDLB_API NoiseEstimate NoiseOfTwoBatches(double small_squared_norm,
                                          double small_batch,
                                          double large_squared_norm,
                                          double large_batch);

// From n gradients g_k over b_k examples each and their mean weighted by
// examples: `mean_squared_norm` is sum_k (b_k / B) |g_k|^2 with B the sum of
// the b_k, `squared_mean_norm` the squared norm of the mean. With equal b_k it
// is the form of AdaptDL. n at least 2.
FEDLB_API NoiseEstimate NoiseOfWorkers(double mean_squared_norm,
                                       double squared_mean_norm,
                                       double num_examples, int64_t n);

// Squared norms of a round's gradients, by tensor.
class FEDLB_API NoiseObserver final : public UpdateObserver {
 public:
  void Begin(const TensorLayout& layout) override;
  void Add(int64_t slot, const Update& update) override;

  int64_t count() const { return count_; }
  // By tensor; `mean` is the mean of the gradients weighted by examples. Needs
  // two of them. Of clients whose data differ the variance holds what their
  // true gradients differ by, too, times the examples of a batch.
  std::vector<NoiseEstimate> Estimate(const TensorList& mean) const;
  // The root of the mean of |g_k|^2.
  double Norm() const;

 private:
  int64_t count_ = 0;
  double num_examples_ = 0;
  std::vector<double> weighted_squares_;  // sum_k b_k |g_k|^2 by tensor
};

FEDLB_API NoiseEstimate Sum(const std::vector<NoiseEstimate>& estimates);

// Averages over rounds, each of the two for itself, with weights that fall off
// geometrically.
class FEDLB_API NoiseAverage {
 public:
  // `smoothing` in [0, 1): what is left of a weight after a round.
  explicit NoiseAverage(double smoothing = 0.95) : smoothing_(smoothing) {}

  void Add(const NoiseEstimate& estimate);
  // NaN before the first.
  double signal() const { return signal_ / weight_; }
  double variance() const { return variance_ / weight_; }
  // tr(Sigma) / |G|^2, in examples: the batch size at which noise and signal
  // have equal parts in a gradient. NaN while the signal is not positive.
  double noise_scale() const;

  ComponentState SaveState() const;
  absl::Status LoadState(const ComponentState& state);

 private:
  double smoothing_;
  double weight_ = 0;
  double signal_ = 0;
  double variance_ = 0;
};

}  // namespace fedlb

#endif  // FEDLB_SRC_GRADIENT_NOISE_H_
