#include "state_bundle.h"

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace fedlb {
namespace {

template <typename Map>
void ExtractPrefixed(const std::string& prefix, const Map& from, Map& to) {
  for (auto entry = from.lower_bound(prefix);
       entry != from.end() && absl::StartsWith(entry->first, prefix); ++entry) {
    to[entry->first.substr(prefix.size())] = entry->second;
  }
}

}  // namespace

void AddState(absl::string_view owner, const ComponentState& state,
              TensorGroups& tensors, ScalarMap& scalars) {
  for (const auto& [name, list] : state.tensors) {
    tensors[absl::StrCat(owner, ".", name)] = list;
  }
  for (const auto& [name, value] : state.scalars) {
    scalars[absl::StrCat(owner, ".", name)] = value;
  }
}

ComponentState ExtractState(absl::string_view owner,
                            const TensorGroups& tensors,
                            const ScalarMap& scalars) {
  const std::string prefix = absl::StrCat(owner, ".");
  ComponentState state;
  ExtractPrefixed(prefix, tensors, state.tensors);
  ExtractPrefixed(prefix, scalars, state.scalars);
  return state;
}

}  // namespace fedlb
