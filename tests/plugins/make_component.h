// Makes a component from its options as a configuration states them.

#ifndef FEDLB_TESTS_PLUGINS_MAKE_COMPONENT_H_
#define FEDLB_TESTS_PLUGINS_MAKE_COMPONENT_H_

#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "fedlb/component.h"
#include "fedlb/config.h"
#include "fedlb/status.h"

namespace fedlb {

template <typename C>
absl::StatusOr<std::unique_ptr<C>> TryMake(
    absl::string_view toml, const ComponentContext& context = {}) {
  FEDLB_ASSIGN_OR_RETURN(const ConfigTable table, ParseToml(toml, "test"));
  FEDLB_ASSIGN_OR_RETURN(const auto options, C::Schema().Parse(table));
  return C::Create(options, context);
}

// The same where the options are right; throws otherwise.
template <typename C>
std::unique_ptr<C> Make(absl::string_view toml,
                        const ComponentContext& context = {}) {
  return std::move(TryMake<C>(toml, context)).value();
}

}  // namespace fedlb

#endif  // FEDLB_TESTS_PLUGINS_MAKE_COMPONENT_H_
