#include "algorithms/client_memory.h"

#include <cstddef>
#include <string>
#include <utility>

#include <ATen/core/Tensor.h>

#include "absl/strings/str_cat.h"
#include "fedlb/status.h"

namespace fedlb::algorithms {
namespace {

constexpr char kPart[] = "client_algorithm";

}  // namespace

const TensorList* FindKept(const ClientState& state, absl::string_view name) {
  const auto part = state.parts.find(kPart);
  if (part == state.parts.end()) {
    return nullptr;
  }
  const auto kept = part->second.tensors.find(std::string(name));
  return kept == part->second.tensors.end() ? nullptr : &kept->second;
}

void Keep(absl::string_view name, TensorList tensors, ClientState& state) {
  state.parts[kPart].tensors[std::string(name)] = std::move(tensors);
}

absl::Status CheckFits(const TensorList& weights, const TensorList& tensors,
                       absl::string_view what) {
  bool fits = tensors.size() == weights.size();
  for (size_t i = 0; fits && i < weights.size(); ++i) {
    fits = tensors[i].defined() && tensors[i].sizes() == weights[i].sizes() &&
           tensors[i].scalar_type() == weights[i].scalar_type();
  }
  if (!fits) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, " does not have the shapes of the weights"));
  }
  return absl::OkStatus();
}

absl::Status CheckLocalSteps(const RoundWork& work,
                             absl::string_view algorithm) {
  if (work.kind == RoundWork::Kind::kLocalSteps && work.base_round < 0) {
    return absl::OkStatus();
  }
  return ConfigError(absl::StrCat(
      "client_algorithm.name = \"", algorithm,
      "\" corrects the local steps between two averages, and this sync_policy ",
      work.base_round < 0 ? "has a round without any"
                          : "lets clients go on without an average",
      "; set sync_policy.name = \"fedavg\""));
}

}  // namespace fedlb::algorithms
