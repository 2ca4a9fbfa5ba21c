#include "weights_file.h"

#include <algorithm>
#include <set>

#include <ATen/core/grad_mode.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "fedlb/status.h"
#include "run_state.h"

namespace fedlb {
namespace {

constexpr size_t kMaxFaults = 5;

bool IsSkipped(const std::string& name, const std::vector<std::string>& skip) {
  return std::any_of(skip.begin(), skip.end(), [&](const std::string& prefix) {
    return absl::StartsWith(name, prefix);
  });
}

// PyTorch counts batches in every batch normalisation; nothing depends on it
// while momentum is set.
bool IsBatchCounter(const std::string& name) {
  return absl::EndsWith(name, "num_batches_tracked");
}

// The tensors of a state dict; of a checkpoint, those that make one.
absl::StatusOr<SafetensorsFile> ReadStateDict(const std::string& path) {
  FEDLB_ASSIGN_OR_RETURN(SafetensorsFile file, ReadSafetensors(path));
  if (file.metadata.count(kRunStateKey) == 0) {
    return file;
  }
  SafetensorsFile weights;
  for (auto& [name, tensor] : file.tensors) {
    absl::string_view own = name;
    if (absl::ConsumePrefix(&own, kWeightsPrefix) ||
        absl::ConsumePrefix(&own, kBuffersPrefix)) {
      weights.tensors.emplace_back(std::string(own), std::move(tensor));
    }
  }
  return weights;
}

}  // namespace

absl::Status LoadWeightsFile(const std::string& path,
                             const std::vector<std::string>& skip,
                             Model& model) {
  FEDLB_ASSIGN_OR_RETURN(const SafetensorsFile file, ReadStateDict(path));
  std::vector<std::string> faults;
  std::set<std::string> known;
  std::vector<std::pair<at::Tensor, at::Tensor>> copies;  // target, source
  const auto match = [&](const TensorLayout& layout, const TensorList& targets) {
    for (size_t i = 0; i < layout.size(); ++i) {
      const std::string& name = layout[i].name;
      known.insert(name);
      if (IsSkipped(name, skip)) {
        continue;
      }
      const at::Tensor* source = file.Find(name);
      if (source == nullptr) {
        faults.push_back(absl::StrCat(name, " is missing"));
      } else if (source->sizes() != targets[i].sizes()) {
        faults.push_back(absl::StrCat(
            name, " is of shape [", absl::StrJoin(source->sizes(), ", "),
            "], the model's of [", absl::StrJoin(targets[i].sizes(), ", "),
            "]"));
      } else {
        copies.emplace_back(targets[i], *source);
      }
    }
  };
  match(model.parameter_layout(), model.parameters());
  match(model.buffer_layout(), model.buffers());
  for (const auto& [name, tensor] : file.tensors) {
    if (known.count(name) == 0 && !IsSkipped(name, skip) &&
        !IsBatchCounter(name)) {
      faults.push_back(absl::StrCat(name, " is not in the model"));
    }
  }
  if (!faults.empty()) {
    const size_t more = faults.size() - std::min(faults.size(), kMaxFaults);
    faults.resize(faults.size() - more);
    return InputFileError(absl::StrCat(
        path, " does not fit the model: ", absl::StrJoin(faults, "; "),
        more > 0 ? absl::StrCat("; and ", more, " more") : "",
        ". Name what should keep its random values by model.init_skip"));
  }
  const at::NoGradGuard no_grad;
  for (auto& [target, source] : copies) {
    target.copy_(source);
  }
  return absl::OkStatus();
}

SafetensorsFile MakeWeightsFile(const Model& model, const TensorList& weights,
                                const TensorList& buffers) {
  SafetensorsFile file;
  file.metadata["fedlb.kind"] = "weights";
  const auto add = [&file](const TensorLayout& layout,
                           const TensorList& tensors) {
    for (size_t i = 0; i < layout.size(); ++i) {
      file.tensors.emplace_back(layout[i].name, tensors[i]);
    }
  };
  add(model.parameter_layout(), weights);
  add(model.buffer_layout(), buffers);
  return file;
}

}  // namespace fedlb
