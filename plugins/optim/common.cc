#include "optim/common.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>

#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros_like.h>

#include "absl/strings/str_cat.h"

namespace fedlb::optim {
namespace {

// Strides of sizes 1 place nothing.
bool SameOrder(const at::Tensor& a, const at::Tensor& b) {
  for (int64_t d = 0; d < a.dim(); ++d) {
    if (a.size(d) != 1 && a.stride(d) != b.stride(d)) {
      return false;
    }
  }
  return true;
}

bool Contains(std::initializer_list<absl::string_view> names,
              absl::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

bool HasPlainMemory(const at::Tensor& weight) {
  return weight.layout() == at::kStrided && weight.device().is_cpu() &&
         (weight.scalar_type() == at::kFloat ||
          weight.scalar_type() == at::kDouble) &&
         weight.is_non_overlapping_and_dense();
}

at::Tensor InOrderOf(const at::Tensor& weight, const at::Tensor& tensor) {
  if (HasPlainMemory(tensor) && SameOrder(weight, tensor) &&
      tensor.scalar_type() == weight.scalar_type()) {
    return tensor;
  }
  return at::empty_like(weight).copy_(tensor);
}

absl::Status FitState(absl::string_view name, const TensorList& weights,
                      TensorList& state) {
  if (state.empty()) {
    for (const at::Tensor& weight : weights) {
      state.push_back(at::zeros_like(weight));
    }
    return absl::OkStatus();
  }
  if (state.size() != weights.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("optimizer state ", name, " has ", state.size(),
                     " tensors, the model ", weights.size()));
  }
  for (size_t i = 0; i < weights.size(); ++i) {
    if (state[i].sizes() != weights[i].sizes() ||
        state[i].scalar_type() != weights[i].scalar_type()) {
      return absl::InvalidArgumentError(
          absl::StrCat("optimizer state ", name, ": tensor ", i,
                       " differs from the weights in shape or type"));
    }
    if (HasPlainMemory(weights[i])) {
      state[i] = InOrderOf(weights[i], state[i]);
    }
  }
  return absl::OkStatus();
}

absl::Status CheckState(const ComponentState& state,
                        std::initializer_list<absl::string_view> groups,
                        std::initializer_list<absl::string_view> scalars) {
  if (state.empty()) {
    return absl::OkStatus();
  }
  for (const auto& [name, tensors] : state.tensors) {
    if (!Contains(groups, name)) {
      return absl::InvalidArgumentError(
          absl::StrCat("optimizer state has an unknown group ", name));
    }
    if (tensors.size() != state.tensors.begin()->second.size()) {
      return absl::InvalidArgumentError(
          "optimizer state has groups of different length");
    }
  }
  for (const auto& [name, value] : state.scalars) {
    if (!Contains(scalars, name)) {
      return absl::InvalidArgumentError(
          absl::StrCat("optimizer state has an unknown number ", name));
    }
    if (!std::isfinite(value)) {
      return absl::InvalidArgumentError(
          absl::StrCat("optimizer state: ", name, " is not finite"));
    }
  }
  if (state.tensors.size() != groups.size() ||
      state.scalars.size() != scalars.size()) {
    return absl::InvalidArgumentError("optimizer state is incomplete");
  }
  return absl::OkStatus();
}

double ClipFactor(const TensorList& gradient, double max_norm) {
  if (max_norm == 0) {
    return 1;
  }
  const double norm = std::sqrt(SquaredNorm(gradient));
  return std::min(1.0, max_norm / (norm + 1e-6));
}

}  // namespace fedlb::optim
