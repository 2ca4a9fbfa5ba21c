#include "sync/selsync.h"

#include <cmath>

#include "absl/strings/str_cat.h"

namespace fedlb::sync {
namespace {

constexpr char kBaseRound[] = "base_round";
// Up to here a double counts rounds one by one.
constexpr double kMaxRound = 0x1p53;

}  // namespace

ParamSchema<SelSyncOptions> SelSync::Schema() {
  return ParamSchema<Options>()
      .Add("threshold", &Options::threshold,
           "A client votes for averaging when its gradient change Delta(g) "
           "reaches this; 0 averages in every round. The change is that of "
           "[critical_phase], which needs scope = \"client\"; its threshold "
           "has no part in it. Clients keep their weights between rounds, "
           "and their momentum with optimizer.keep_state = true.",
           AtLeast(0))
      .Add("quorum", &Options::quorum,
           "Share of the cohort, by examples, that must vote for averaging; "
           "with 0 one client is enough.",
           InClosed(0, 1))
      .Add("local_steps", &Options::local_steps,
           "Optimizer steps per client between two votes.", AtLeast(1));
}

absl::StatusOr<std::unique_ptr<SelSync>> SelSync::Create(
    const Options& options, const ComponentContext& context) {
  return std::unique_ptr<SelSync>(new SelSync(options, context.num_rounds));
}

RoundWork SelSync::Plan(int64_t /*round*/) const {
  return {.kind = RoundWork::Kind::kLocalSteps,
          .local_steps = options_.local_steps,
          .base_round = base_round_};
}

bool SelSync::Votes(double gradient_change) const {
  // NaN while there is no change.
  return std::isnan(gradient_change) || gradient_change >= options_.threshold;
}

absl::StatusOr<bool> SelSync::CloseRound(int64_t round, double votes) {
  // Votes are a mean and may miss 1 by its rounding.
  constexpr double kSlack = 1e-9;
  const bool enough = votes > 0 && votes >= options_.quorum - kSlack;
  if (!enough && round + 1 < num_rounds_) {
    return false;
  }
  base_round_ = round + 1;
  return true;
}

ComponentState SelSync::SaveState() const {
  return {.scalars = {{kBaseRound, static_cast<double>(base_round_)}}};
}

absl::Status SelSync::LoadState(const ComponentState& state) {
  const auto base = state.scalars.find(kBaseRound);
  if (!state.tensors.empty() || state.scalars.size() != 1 ||
      base == state.scalars.end() || base->second < 0 ||
      base->second > kMaxRound || base->second != std::floor(base->second)) {
    return absl::InvalidArgumentError(
        absl::StrCat("not a state of selsync: it needs \"", kBaseRound,
                     "\", a number of rounds, and nothing else"));
  }
  base_round_ = static_cast<int64_t>(base->second);
  return absl::OkStatus();
}

}  // namespace fedlb::sync
