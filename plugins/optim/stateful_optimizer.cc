#include "optim/stateful_optimizer.h"

#include <algorithm>
#include <cmath>
#include <string>

#include <ATen/core/Tensor.h>
#include <ATen/ops/full_like.h>

#include "absl/strings/str_cat.h"
#include "fedlb/status.h"
#include "optim/common.h"

namespace fedlb::optim {
namespace {

constexpr char kSteps[] = "steps";

absl::Status CheckFit(const StateGroup& group, const TensorList& weights,
                      const TensorList& state) {
  if (state.size() != weights.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("optimizer state ", group.name, " has ", state.size(),
                     " tensors, the model ", weights.size()));
  }
  for (size_t i = 0; i < weights.size(); ++i) {
    if (state[i].sizes() != weights[i].sizes() ||
        state[i].scalar_type() != weights[i].scalar_type()) {
      return absl::InvalidArgumentError(
          absl::StrCat("optimizer state ", group.name, ": tensor ", i,
                       " differs from the weights in shape or type"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

std::vector<StateGroup> VelocityGroups(double momentum) {
  if (momentum == 0) {
    return {};
  }
  return {{"velocity"}};
}

void StatefulOptimizer::Reset() {
  for (TensorList& tensors : tensors_) {
    tensors.clear();
  }
  steps_ = 0;
}

int64_t StatefulOptimizer::StateBytes(const TensorLayout& layout) const {
  return static_cast<int64_t>(groups_.size()) * NumBytes(layout);
}

ComponentState StatefulOptimizer::SaveState() const {
  ComponentState state;
  for (size_t g = 0; g < groups_.size(); ++g) {
    if (!tensors_[g].empty()) {
      state.tensors[groups_[g].name] = tensors_[g];
    }
  }
  if (steps_ > 0) {
    state.scalars[kSteps] = static_cast<double>(steps_);
  }
  return state;
}

absl::Status StatefulOptimizer::LoadState(const ComponentState& state) {
  FEDLB_RETURN_IF_ERROR(CheckState(state));
  Reset();
  if (state.empty()) {
    return absl::OkStatus();
  }
  for (size_t g = 0; g < groups_.size(); ++g) {
    tensors_[g] = Clone(state.tensors.at(groups_[g].name));
  }
  if (counts_steps_) {
    steps_ = static_cast<int64_t>(state.scalars.at(kSteps));
  }
  return absl::OkStatus();
}

absl::Status StatefulOptimizer::FitState(const TensorList& weights) {
  for (size_t g = 0; g < groups_.size(); ++g) {
    if (!tensors_[g].empty()) {
      FEDLB_RETURN_IF_ERROR(CheckFit(groups_[g], weights, tensors_[g]));
    }
  }
  for (size_t g = 0; g < groups_.size(); ++g) {
    TensorList& state = tensors_[g];
    if (state.empty()) {
      for (const at::Tensor& weight : weights) {
        state.push_back(at::full_like(weight, groups_[g].start));
      }
    }
    for (size_t i = 0; i < weights.size(); ++i) {
      if (HasPlainMemory(weights[i])) {
        state[i] = InOrderOf(weights[i], state[i]);
      }
    }
  }
  return absl::OkStatus();
}

absl::Status StatefulOptimizer::CheckState(const ComponentState& state) const {
  if (state.empty()) {
    return absl::OkStatus();
  }
  for (const auto& [name, tensors] : state.tensors) {
    const auto has_name = [&name = name](const StateGroup& group) {
      return name == group.name;
    };
    if (std::none_of(groups_.begin(), groups_.end(), has_name)) {
      return absl::InvalidArgumentError(
          absl::StrCat("optimizer state has an unknown group ", name));
    }
    if (tensors.size() != state.tensors.begin()->second.size()) {
      return absl::InvalidArgumentError(
          "optimizer state has groups of different length");
    }
  }
  for (const auto& [name, value] : state.scalars) {
    if (!counts_steps_ || name != kSteps) {
      return absl::InvalidArgumentError(
          absl::StrCat("optimizer state has an unknown number ", name));
    }
    // NaN is neither; beyond 1e15 a double cannot count.
    if (!(value >= 1 && value <= 1e15 && value == std::floor(value))) {
      return absl::InvalidArgumentError(
          "optimizer state: steps is not a positive count");
    }
  }
  if (state.tensors.size() != groups_.size() ||
      state.scalars.size() != size_t{counts_steps_}) {
    return absl::InvalidArgumentError("optimizer state is incomplete");
  }
  return absl::OkStatus();
}

}  // namespace fedlb::optim
