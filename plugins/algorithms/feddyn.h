// FedDyn: clients whose loss is bent towards the federation's.

#ifndef FEDLB_PLUGINS_ALGORITHMS_FEDDYN_H_
#define FEDLB_PLUGINS_ALGORITHMS_FEDDYN_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/client_algorithm.h"
#include "fedlb/param_schema.h"

namespace fedlb::algorithms {

struct FedDynOptions {
  double alpha = 0.01;
};

// D. A. E. Acar et al., "Federated Learning Based on Dynamic Regularization",
// ICLR 2021, Algorithm 1. With theta_t the round's weights, m clients in all
// and the cohort P, a client minimises
//   L_k(theta) - <grad_k, theta> + alpha/2 ||theta - theta_t||^2,
// keeps grad_k - alpha (theta_k - theta_t) for the next time, and the server
// takes
//   h <- h - alpha/m sum_P (theta_k - theta_t)
//   theta <- mean_P theta_k - h / alpha,
// the latter as a mean delta minus h / alpha, which is the paper's step when
// [server_optimizer] is sgd with lr = 1 and no momentum. grad_k and h begin
// with 0. The fixed point is a minimum of the clients' mean loss, which that of
// FedAvg is not; how local steps are taken is up to [optimizer].
//
// The paper's means are uniform, so a client reports one example whatever it
// holds; the metrics of a round are means over clients then.
class FedDyn final : public ClientAlgorithm {
 public:
  using Options = FedDynOptions;
  static constexpr char kName[] = "feddyn";
  static constexpr char kSummary[] =
      "Gives every client a linear and a quadratic term that make its minimum "
      "the federation's; all clients weigh the same.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<FedDyn>> Create(
      const Options& options, const ComponentContext& context);

  absl::Status PrepareTask(RoundTask& task) override;
  absl::Status AdjustGradient(const RoundTask& task, const ClientState& state,
                              const TensorList& weights,
                              TensorList& gradient) const override;
  absl::Status AddToUpdate(const RoundTask& task, const TensorList& weights,
                           Update& update, ClientState& state) const override;
  absl::Status FinishRound(const RoundOutcome& outcome,
                           TensorList& aggregate) override;
  int64_t BytesPerClient(const TensorLayout& layout) const override;

  ComponentState SaveState() const override;
  absl::Status LoadState(const ComponentState& state) override;

 private:
  explicit FedDyn(const Options& options) : options_(options) {}

  const Options options_;
  TensorList h_;  // empty before the first round
};

}  // namespace fedlb::algorithms

#endif  // FEDLB_PLUGINS_ALGORITHMS_FEDDYN_H_
