// Makes an optimizer from its name and its options.

#ifndef FEDLB_TESTS_PLUGINS_MAKE_OPTIMIZER_H_
#define FEDLB_TESTS_PLUGINS_MAKE_OPTIMIZER_H_

#include <memory>
#include <stdexcept>
#include <string>

#include "fedlb/optimizer.h"
#include "optim/adam.h"
#include "optim/adamw.h"
#include "optim/fedopt.h"
#include "optim/lamb.h"
#include "optim/lars.h"
#include "optim/sgd.h"
#include "plugins/make_component.h"

namespace fedlb {

// The first of `Cs` with this name; throws where there is none.
template <typename C, typename... Cs>
std::unique_ptr<Optimizer> MakeOneOf(const std::string& name,
                                     const std::string& options) {
  if (name == C::kName) {
    return Make<C>(options);
  }
  if constexpr (sizeof...(Cs) > 0) {
    return MakeOneOf<Cs...>(name, options);
  }
  throw std::invalid_argument("no optimizer " + name);
}

inline std::unique_ptr<Optimizer> MakeOptimizer(const std::string& name,
                                                const std::string& options) {
  return MakeOneOf<optim::Sgd, optim::Adam, optim::AdamW, optim::Lars,
                   optim::TvLars, optim::Lamb, optim::FedAvgM, optim::FedAdam,
                   optim::FedYogi>(name, options);
}

}  // namespace fedlb

#endif  // FEDLB_TESTS_PLUGINS_MAKE_OPTIMIZER_H_
