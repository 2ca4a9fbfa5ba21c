// Trains for some rounds and measures how noisy the gradients are.

#ifndef FEDLB_SRC_PROFILE_NOISE_PROBE_H_
#define FEDLB_SRC_PROFILE_NOISE_PROBE_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "federation.h"
#include "fedlb/export.h"
#include "fedlb/profile.h"
#include "fedlb/tensor_list.h"
#include "fedlb/update_sink.h"

namespace fedlb {

// What two gradients of each of several clients tell, by tensor of the model.
// All are over equally many examples.
class FEDLB_API PairedNoiseObserver final : public UpdateObserver {
 public:
  struct ClientNoise {
    double signal = 0;    // |G|^2 of the mean of the clients' true gradients
    double variance = 0;  // tr(Sigma) of one example within a client
    double drift = 0;     // the mean of |G_k - G|^2 over clients
  };

  void Begin(const TensorLayout& layout) override;
  // Slots 2 k and 2 k + 1 are the two of client k, in this order.
  void Add(int64_t slot, const Update& update) override;

  int64_t num_clients() const { return num_pairs_; }
  // Unbiased each. Of one client the drift is 0. Needs a pair.
  std::vector<ClientNoise> Estimates() const;
  // The root of the mean of |g|^2, and the norm of the mean of all gradients.
  double Norm() const;
  double NormOfMean() const;

 private:
  int64_t num_pairs_ = 0;
  double batch_size_ = 0;
  int64_t first_slot_ = -1;
  TensorList first_;
  TensorList sum_;
  std::vector<double> squares_;      // sum of |g|^2 over all gradients
  std::vector<double> differences_;  // sum of |g - g'|^2 over the pairs
};

// Runs options.noise_rounds rounds of BSP from the initial weights, each with
// two batches of up to kNoiseClients clients, and the run's own optimizer.
// `federation` is used up. A client without two examples is left out.
//
// kConfig: no client has two examples. A run that diverges ends early and keeps
// what it has.
absl::StatusOr<NoiseProfile> ProfileNoise(Federation& federation,
                                          const ProfileOptions& options);

}  // namespace fedlb

#endif  // FEDLB_SRC_PROFILE_NOISE_PROBE_H_
