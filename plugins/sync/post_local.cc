#include "sync/post_local.h"

namespace fedlb::sync {

ParamSchema<PostLocalOptions> PostLocal::Schema() {
  return ParamSchema<Options>()
      .Add("switch_at", &Options::switch_at,
           "First round with local steps, best that of the first drop of the "
           "learning rate; 0 for half of the rounds. Until there [optimizer] "
           "is the server's, from there on the clients', and it begins "
           "without momentum; optimizer.keep_state keeps the clients' "
           "momentum between later rounds.",
           AtLeast(0))
      .Add("local_steps", &Options::local_steps,
           "Optimizer steps per client and round after the switch.",
           AtLeast(1));
}

absl::StatusOr<std::unique_ptr<PostLocal>> PostLocal::Create(
    const Options& options, const ComponentContext& context) {
  const int64_t switch_at =
      options.switch_at > 0 ? options.switch_at : (context.num_rounds + 1) / 2;
  return std::unique_ptr<PostLocal>(
      new PostLocal(switch_at, options.local_steps));
}

RoundWork PostLocal::Plan(int64_t round) const {
  if (round < switch_at_) {
    return {.kind = RoundWork::Kind::kGradient};
  }
  return {.kind = RoundWork::Kind::kLocalSteps, .local_steps = local_steps_};
}

}  // namespace fedlb::sync
