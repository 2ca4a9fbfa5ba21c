#include "algorithms/scaffold.h"

#include <cmath>
#include <cstddef>
#include <utility>

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include "absl/strings/str_cat.h"
#include "algorithms/client_memory.h"
#include "fedlb/status.h"

namespace fedlb::algorithms {
namespace {

constexpr char kControl[] = "control";  // c_i in a client's state, c in ours
constexpr char kBroadcast[] = "client_algorithm.control";
constexpr char kChange[] = "client_algorithm.control_change";

absl::StatusOr<const TensorList*> BroadcastControl(const RoundTask& task) {
  const auto control = task.aux.find(kBroadcast);
  if (control == task.aux.end()) {
    return absl::InvalidArgumentError(
        "scaffold: the task carries no control variate; server and clients "
        "must have the same client_algorithm");
  }
  FEDLB_RETURN_IF_ERROR(
      CheckFits(task.weights, control->second, "scaffold: the task's variate"));
  return &control->second;
}

// By how much gradients that are all 1 move a weight in `steps` steps of rate 1
// with a momentum that begins empty: `steps` for plain SGD.
double TotalWeight(double momentum, int64_t steps) {
  const auto k = static_cast<double>(steps);
  return (k - momentum * (1 - std::pow(momentum, k)) / (1 - momentum)) /
         (1 - momentum);
}

}  // namespace

ParamSchema<ScaffoldOptions> Scaffold::Schema() {
  return ParamSchema<Options>().Add(
      "momentum", &Options::momentum,
      "Momentum of [optimizer], which must be sgd without nesterov and without "
      "keep_state: the control variates are gradients only when they are told. "
      "For Adam and other optimizers that rescale gradients the method is not "
      "defined.",
      InHalfOpen(0, 1));
}

absl::StatusOr<std::unique_ptr<Scaffold>> Scaffold::Create(
    const Options& options, const ComponentContext& /*context*/) {
  return std::unique_ptr<Scaffold>(new Scaffold(options));
}

absl::Status Scaffold::PrepareTask(RoundTask& task) {
  FEDLB_RETURN_IF_ERROR(CheckLocalSteps(task.work, kName));
  if (control_.empty()) {
    control_ = ZerosLike(task.weights);
  }
  FEDLB_RETURN_IF_ERROR(
      CheckFits(task.weights, control_, "scaffold: the server's variate"));
  task.aux[kBroadcast] = control_;
  return absl::OkStatus();
}

absl::Status Scaffold::AdjustGradient(const RoundTask& task,
                                      const ClientState& state,
                                      const TensorList& /*weights*/,
                                      TensorList& gradient) const {
  FEDLB_ASSIGN_OR_RETURN(const TensorList* control, BroadcastControl(task));
  FEDLB_RETURN_IF_ERROR(
      CheckFits(gradient, *control, "scaffold: the task's variate"));
  const TensorList* own = FindKept(state, kControl);
  if (own != nullptr) {
    FEDLB_RETURN_IF_ERROR(
        CheckFits(gradient, *own, "scaffold: the client's variate"));
  }
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < gradient.size(); ++i) {
    gradient[i].add_((*control)[i]);
    if (own != nullptr) {
      gradient[i].sub_((*own)[i]);
    }
  }
  return absl::OkStatus();
}

absl::Status Scaffold::AddToUpdate(const RoundTask& task,
                                   const TensorList& /*weights*/,
                                   Update& update, ClientState& state) const {
  FEDLB_ASSIGN_OR_RETURN(const TensorList* control, BroadcastControl(task));
  const TensorList& delta = update.parameters();
  FEDLB_RETURN_IF_ERROR(CheckFits(task.weights, delta, "scaffold: the delta"));
  update.num_examples = 1;

  const double scale =
      task.lr * TotalWeight(options_.momentum, update.local_steps);
  if (scale == 0) {
    // Steps of rate 0, as at the start of a warm-up, tell nothing about the
    // gradient.
    update.groups[kChange] = ZerosLike(delta);
    return absl::OkStatus();
  }
  const at::NoGradGuard no_grad;
  const TensorList* own = FindKept(state, kControl);
  TensorList change;
  TensorList next;
  for (size_t i = 0; i < delta.size(); ++i) {
    change.push_back(delta[i].mul(-1 / scale).sub_((*control)[i]));
    next.push_back(own == nullptr ? change[i].clone()
                                  : (*own)[i].add(change[i]));
  }
  Keep(kControl, std::move(next), state);
  update.groups[kChange] = std::move(change);
  return absl::OkStatus();
}

absl::Status Scaffold::FinishRound(const RoundOutcome& outcome,
                                   TensorList& aggregate) {
  const auto change = outcome.group_means->find(kChange);
  if (change == outcome.group_means->end()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "scaffold: the updates lack \"", kChange,
        "\"; server and clients must have the same client_algorithm"));
  }
  FEDLB_RETURN_IF_ERROR(
      CheckFits(aggregate, change->second, "scaffold: the clients' change"));
  FEDLB_RETURN_IF_ERROR(
      CheckFits(aggregate, control_, "scaffold: the server's variate"));
  AddScaled(change->second,
            static_cast<double>(outcome.num_survivors) /
                static_cast<double>(outcome.num_clients),
            control_);
  return absl::OkStatus();
}

int64_t Scaffold::BytesPerClient(const TensorLayout& layout) const {
  return NumBytes(layout);
}

ComponentState Scaffold::SaveState() const {
  ComponentState state;
  if (!control_.empty()) {
    state.tensors[kControl] = control_;
  }
  return state;
}

absl::Status Scaffold::LoadState(const ComponentState& state) {
  const auto control = state.tensors.find(kControl);
  const bool has_control = control != state.tensors.end();
  if (!state.scalars.empty() || state.tensors.size() != (has_control ? 1 : 0)) {
    return absl::InvalidArgumentError("not a state of scaffold");
  }
  control_ = has_control ? Clone(control->second) : TensorList();
  return absl::OkStatus();
}

}  // namespace fedlb::algorithms
