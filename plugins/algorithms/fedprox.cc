#include "algorithms/fedprox.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include "fedlb/status.h"

namespace fedlb::algorithms {

ParamSchema<FedProxOptions> FedProx::Schema() {
  return ParamSchema<Options>().Add(
      "mu", &Options::mu,
      "Strength of the pull: the loss gains mu/2 times the squared distance "
      "from the round's weights. Common values are 0.001 to 1.",
      AtLeast(0));
}

absl::StatusOr<std::unique_ptr<FedProx>> FedProx::Create(
    const Options& options, const ComponentContext& /*context*/) {
  return std::unique_ptr<FedProx>(new FedProx(options));
}

absl::Status FedProx::AdjustGradient(const RoundTask& task,
                                     const ClientState& /*state*/,
                                     const TensorList& weights,
                                     TensorList& gradient) const {
  if (task.weights.size() != gradient.size() ||
      weights.size() != gradient.size()) {
    return absl::InvalidArgumentError(
        "fedprox: the task's weights do not fit the gradient");
  }
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < gradient.size(); ++i) {
    // The difference first: it vanishes exactly at the round's weights, where
    // the first local step must equal that of client_algorithm none.
    gradient[i].add_(weights[i].sub(task.weights[i]), options_.mu);
  }
  return absl::OkStatus();
}

}  // namespace fedlb::algorithms
