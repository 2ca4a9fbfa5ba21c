// FedProx: clients stay near the round's weights.

#ifndef FEDLB_PLUGINS_ALGORITHMS_FEDPROX_H_
#define FEDLB_PLUGINS_ALGORITHMS_FEDPROX_H_

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/client_algorithm.h"
#include "fedlb/param_schema.h"

namespace fedlb::algorithms {

struct FedProxOptions {
  double mu = 0.01;
};

// T. Li et al., "Federated Optimization in Heterogeneous Networks", MLSys 2020,
// Eq 2: a client's loss gains mu/2 ||w - w_t||^2, one squared norm over all
// parameters, and its gradient mu (w - w_t).
class FedProx final : public ClientAlgorithm {
 public:
  using Options = FedProxOptions;
  static constexpr char kName[] = "fedprox";
  static constexpr char kSummary[] =
      "Pulls the clients' weights towards those of the round's start.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<FedProx>> Create(
      const Options& options, const ComponentContext& context);

  absl::Status AdjustGradient(const RoundTask& task, const ClientState& state,
                              const TensorList& weights,
                              TensorList& gradient) const override;

 private:
  explicit FedProx(const Options& options) : options_(options) {}

  const Options options_;
};

}  // namespace fedlb::algorithms

#endif  // FEDLB_PLUGINS_ALGORITHMS_FEDPROX_H_
