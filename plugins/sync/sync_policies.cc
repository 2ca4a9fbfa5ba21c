#include "sync/sync_policies.h"

#include "fedlb/status.h"

namespace fedlb::sync {

ParamSchema<BspOptions> Bsp::Schema() { return ParamSchema<Options>(); }

absl::StatusOr<std::unique_ptr<Bsp>> Bsp::Create(
    const Options& /*options*/, const ComponentContext& /*context*/) {
  return std::make_unique<Bsp>();
}

RoundWork Bsp::Plan(int64_t /*round*/) const {
  return {.kind = RoundWork::Kind::kGradient};
}

ParamSchema<FedAvgOptions> FedAvg::Schema() {
  return ParamSchema<Options>()
      .Add("local_epochs", &Options::local_epochs,
           "Passes over a client's examples per round, also fractions of one. "
           "0: one pass, or none where local_steps is set.",
           AtLeast(0))
      .Add("local_steps", &Options::local_steps,
           "Optimizer steps per client and round. 0: local_epochs counts.",
           AtLeast(0))
      .Check([](const Options& options) {
        if (options.local_epochs > 0 && options.local_steps > 0) {
          return ConfigError(
              "local_epochs and local_steps contradict each other: set one");
        }
        return absl::OkStatus();
      });
}

absl::StatusOr<std::unique_ptr<FedAvg>> FedAvg::Create(
    const Options& options, const ComponentContext& /*context*/) {
  return std::unique_ptr<FedAvg>(new FedAvg(options));
}

RoundWork FedAvg::Plan(int64_t /*round*/) const {
  RoundWork work;
  work.kind = RoundWork::Kind::kLocalSteps;
  work.local_steps = options_.local_steps;
  if (options_.local_steps == 0) {
    work.local_epochs = options_.local_epochs > 0 ? options_.local_epochs : 1;
  }
  return work;
}

}  // namespace fedlb::sync
