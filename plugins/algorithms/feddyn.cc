#include "algorithms/feddyn.h"

#include <cstddef>
#include <utility>

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include "algorithms/client_memory.h"
#include "fedlb/status.h"

namespace fedlb::algorithms {
namespace {

constexpr char kClientGradient[] = "gradient";  // grad_k in a client's state
constexpr char kServerSum[] = "h";

}  // namespace

ParamSchema<FedDynOptions> FedDyn::Schema() {
  return ParamSchema<Options>().Add(
      "alpha", &Options::alpha,
      "Strength of the regulariser. Small values let clients go far and the "
      "server correct much; common ones are 0.001 to 0.1.",
      InLeftOpen(0, 1e6));
}

absl::StatusOr<std::unique_ptr<FedDyn>> FedDyn::Create(
    const Options& options, const ComponentContext& /*context*/) {
  return std::unique_ptr<FedDyn>(new FedDyn(options));
}

absl::Status FedDyn::PrepareTask(RoundTask& task) {
  return CheckLocalSteps(task.work, kName);
}

absl::Status FedDyn::AdjustGradient(const RoundTask& task,
                                    const ClientState& state,
                                    const TensorList& weights,
                                    TensorList& gradient) const {
  FEDLB_RETURN_IF_ERROR(
      CheckFits(gradient, task.weights, "feddyn: the task's list"));
  FEDLB_RETURN_IF_ERROR(
      CheckFits(gradient, weights, "feddyn: the list of local weights"));
  const TensorList* linear = FindKept(state, kClientGradient);
  if (linear != nullptr) {
    FEDLB_RETURN_IF_ERROR(
        CheckFits(gradient, *linear, "feddyn: the client's linear term"));
  }
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < gradient.size(); ++i) {
    gradient[i].add_(weights[i].sub(task.weights[i]), options_.alpha);
    if (linear != nullptr) {
      gradient[i].sub_((*linear)[i]);
    }
  }
  return absl::OkStatus();
}

absl::Status FedDyn::AddToUpdate(const RoundTask& task,
                                 const TensorList& /*weights*/, Update& update,
                                 ClientState& state) const {
  const TensorList& delta = update.parameters();
  FEDLB_RETURN_IF_ERROR(CheckFits(task.weights, delta, "feddyn: the delta"));
  update.num_examples = 1;
  const at::NoGradGuard no_grad;
  const TensorList* linear = FindKept(state, kClientGradient);
  TensorList next;
  for (size_t i = 0; i < delta.size(); ++i) {
    next.push_back(delta[i].mul(-options_.alpha));
    if (linear != nullptr) {
      next[i].add_((*linear)[i]);
    }
  }
  Keep(kClientGradient, std::move(next), state);
  return absl::OkStatus();
}

absl::Status FedDyn::FinishRound(const RoundOutcome& outcome,
                                 TensorList& aggregate) {
  if (h_.empty()) {
    h_ = ZerosLike(aggregate);
  }
  FEDLB_RETURN_IF_ERROR(CheckFits(aggregate, h_, "feddyn: the server's sum"));
  // The aggregate is the mean over the survivors.
  AddScaled(aggregate,
            -options_.alpha * static_cast<double>(outcome.num_survivors) /
                static_cast<double>(outcome.num_clients),
            h_);
  AddScaled(h_, -1 / options_.alpha, aggregate);
  return absl::OkStatus();
}

int64_t FedDyn::BytesPerClient(const TensorLayout& layout) const {
  return NumBytes(layout);
}

ComponentState FedDyn::SaveState() const {
  ComponentState state;
  if (!h_.empty()) {
    state.tensors[kServerSum] = h_;
  }
  return state;
}

absl::Status FedDyn::LoadState(const ComponentState& state) {
  const auto h = state.tensors.find(kServerSum);
  const bool has_h = h != state.tensors.end();
  if (!state.scalars.empty() || state.tensors.size() != (has_h ? 1 : 0)) {
    return absl::InvalidArgumentError("not a state of feddyn");
  }
  h_ = has_h ? Clone(h->second) : TensorList();
  return absl::OkStatus();
}

}  // namespace fedlb::algorithms
