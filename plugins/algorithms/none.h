// The client algorithm of plain FedAvg and BSP.

#ifndef FEDLB_PLUGINS_ALGORITHMS_NONE_H_
#define FEDLB_PLUGINS_ALGORITHMS_NONE_H_

#include <memory>

#include "absl/status/statusor.h"
#include "fedlb/client_algorithm.h"
#include "fedlb/param_schema.h"

namespace fedlb::algorithms {

struct NoneOptions {};

class None final : public ClientAlgorithm {
 public:
  using Options = NoneOptions;
  static constexpr char kName[] = "none";
  static constexpr char kSummary[] =
      "Clients follow their gradients and send nothing besides the update.";

  static ParamSchema<Options> Schema() { return ParamSchema<Options>(); }
  static absl::StatusOr<std::unique_ptr<None>> Create(
      const Options& /*options*/, const ComponentContext& /*context*/) {
    return std::make_unique<None>();
  }
};

}  // namespace fedlb::algorithms

#endif  // FEDLB_PLUGINS_ALGORITHMS_NONE_H_
