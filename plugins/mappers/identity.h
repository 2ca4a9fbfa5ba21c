// The gradient mapper that leaves gradients alone.

#ifndef FEDLB_PLUGINS_MAPPERS_IDENTITY_H_
#define FEDLB_PLUGINS_MAPPERS_IDENTITY_H_

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/gradient_mapper.h"
#include "fedlb/param_schema.h"

namespace fedlb::mappers {

struct IdentityOptions {};

class Identity final : public GradientMapper {
 public:
  using Options = IdentityOptions;
  static constexpr char kName[] = "identity";
  static constexpr char kSummary[] = "Leaves the gradient as it is.";

  static ParamSchema<Options> Schema() { return ParamSchema<Options>(); }
  static absl::StatusOr<std::unique_ptr<Identity>> Create(
      const Options& /*options*/, const ComponentContext& /*context*/) {
    return std::make_unique<Identity>();
  }

  ScalarMap Report() const override { return {{"gain", 1}}; }

 private:
  absl::Status DoMap(const StepContext& /*context*/,
                     TensorList& /*gradient*/) override {
    return absl::OkStatus();
  }
};

}  // namespace fedlb::mappers

#endif  // FEDLB_PLUGINS_MAPPERS_IDENTITY_H_
