#include "stored_states.h"

#include <cstddef>
#include <utility>

#include <ATen/core/Tensor.h>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "fedlb/status.h"

namespace fedlb {

using nlohmann::json;

std::string ExactText(double value) { return absl::StrFormat("%.17g", value); }

absl::StatusOr<double> FromExactText(const json& value) {
  double number = 0;
  if (!value.is_string() ||
      !absl::SimpleAtod(value.get_ref<const std::string&>(), &number)) {
    return absl::DataLossError("a number of the state is damaged");
  }
  return number;
}

void StateWriter::Write(const std::string& owner, const ComponentState& state) {
  for (const auto& [name, tensors] : state.tensors) {
    for (size_t i = 0; i < tensors.size(); ++i) {
      file_.tensors.emplace_back(absl::StrCat(owner, "/", name, "/", i),
                                 tensors[i].detach());
    }
    // An empty list is a state too.
    sizes_[owner][name] = tensors.size();
  }
  for (const auto& [name, value] : state.scalars) {
    scalars_[owner][name] = ExactText(value);
  }
}

void StateWriter::WriteScalarsTo(json& out) const {
  out["scalars"] = scalars_;
  out["sizes"] = sizes_;
}

absl::StatusOr<StateReader> StateReader::Create(const SafetensorsFile& file,
                                                const json& stored) {
  StateReader reader;
  absl::flat_hash_map<absl::string_view, const at::Tensor*> tensors;
  for (const auto& [name, tensor] : file.tensors) {
    tensors[name] = &tensor;
  }
  for (const auto& [owner, names] : stored.at("sizes").items()) {
    for (const auto& [name, size] : names.items()) {
      TensorList& list = reader.states_[owner].tensors[name];
      for (size_t i = 0; i < size.get<size_t>(); ++i) {
        const std::string key = absl::StrCat(owner, "/", name, "/", i);
        const auto tensor = tensors.find(key);
        if (tensor == tensors.end()) {
          return absl::DataLossError(
              absl::StrCat("tensor ", key, " is missing"));
        }
        list.push_back(*tensor->second);
      }
    }
  }
  for (const auto& [owner, names] : stored.at("scalars").items()) {
    for (const auto& [name, text] : names.items()) {
      FEDLB_ASSIGN_OR_RETURN(reader.states_[owner].scalars[name],
                             FromExactText(text));
    }
  }
  return reader;
}

ComponentState StateReader::Take(const std::string& owner) {
  const auto found = states_.find(owner);
  if (found == states_.end()) {
    return {};
  }
  ComponentState state = std::move(found->second);
  states_.erase(found);
  return state;
}

}  // namespace fedlb
